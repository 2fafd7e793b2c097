package kafka

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those that the client's own hooks do not count.
type metrics struct {
	handled     prometheus.Counter
	batches     prometheus.Counter
	handleFails prometheus.Counter
	givenBack   prometheus.Counter
	commitFails prometheus.Counter
	fetchFails  prometheus.Counter
	recordsLost prometheus.Counter
	dataLoss    prometheus.Counter
	seconds     prometheus.Observer
}

// newMetrics registers the counters, or takes those that are registered: a consumer that starts again goes on counting.
func newMetrics(reg prometheus.Registerer, client string) *metrics {
	counter := func(name, help string) prometheus.Counter {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "recourse_kafka",
			Name:      name,
			Help:      help,
		}, []string{"client"})
		return register(reg, vec).WithLabelValues(client)
	}
	seconds := register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "recourse_kafka",
		Name:      "batch_seconds",
		Help:      "Time from a poll to the commit of its offsets.",
		Buckets:   prometheus.ExponentialBuckets(0.001, 2, 15),
	}, []string{"client"}))
	return &metrics{
		handled:     counter("records_handled_total", "Records whose batch was handled."),
		batches:     counter("batches_total", "Batches handled."),
		handleFails: counter("handle_failures_total", "Tries of a batch that failed."),
		givenBack:   counter("batches_given_back_total", "Batches given back without a commit, to be read again."),
		commitFails: counter("commit_failures_total", "Offset commits that failed; the next one covers them."),
		fetchFails:  counter("fetch_failures_total", "Errors that a poll returned."),
		recordsLost: counter("records_lost_total", "Records that were gone before they were read. Alarm."),
		dataLoss:    counter("data_loss_total", "Times that the broker was found to have lost records. Alarm."),
		seconds:     seconds.WithLabelValues(client),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if err == nil {
		return c
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	panic(fmt.Sprintf("registering a metric: %v", err)) // two metrics of one name: a mistake in the program
}
