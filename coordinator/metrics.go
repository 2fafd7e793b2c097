package coordinator

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/coordinator/saga"
)

// metrics are what a coordinator counts besides HTTP and Kafka, which count themselves.
type metrics struct {
	events           *prometheus.CounterVec
	batch            *prometheus.HistogramVec
	seconds          *prometheus.HistogramVec
	orders           *prometheus.CounterVec
	ended            *prometheus.CounterVec
	sends            prometheus.Counter
	parked           prometheus.Counter
	dispatchFailures prometheus.Counter
	participantLag   *prometheus.GaugeVec
	queueState       *prometheus.GaugeVec
	admissionWait    prometheus.Gauge
	resends          *prometheus.CounterVec
	pruned           *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "recourse", Subsystem: "coordinator", Name: name, Help: help,
		}, labels)
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "recourse", Subsystem: "coordinator", Name: name, Help: help, Buckets: buckets,
		}, []string{"door"})
		reg.MustRegister(h)
		return h
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "recourse", Subsystem: "coordinator", Name: name, Help: help,
		}, labels)
		reg.MustRegister(g)
		return g
	}
	return &metrics{
		events:           counter("events_total", "Events that came in, by what became of them.", "door", "outcome"),
		batch:            histogram("batch_size", "Events of one transaction.", prometheus.ExponentialBuckets(1, 2, 10)),
		seconds:          histogram("batch_seconds", "Time of one transaction.", prometheus.ExponentialBuckets(0.001, 2, 14)),
		orders:           counter("orders_total", "Submitted orders, by answer.", "answer"),
		ended:            counter("sagas_ended_total", "Sagas that came to their end, by state.", "state"),
		sends:            counter("commands_total", "Commands decided on, resends included.").WithLabelValues(),
		parked:           counter("parked_total", "Records parked as dead letters. Alarm.").WithLabelValues(),
		dispatchFailures: counter("dispatch_failures_total", "Commands that were not sent, yet.").WithLabelValues(),
		participantLag:   gauge("participant_lag", "Commands that a participant has not read yet.", "participant"),
		queueState:       gauge("queue_state", "1 for the state that a queue is in.", "queue", "state"),
		admissionWait:    gauge("admission_wait_seconds", "How long a new order would wait.").WithLabelValues(),
		resends:          counter("resends_total", "Resends that were due, by what became of them.", "outcome"),
		pruned:           counter("pruned_total", "Rows, and months of history and outbox, that were deleted.", "table"),
	}
}

// door of new orders, for metrics.
const doorIntake door = "intake"

// applied counts the items of a turn, which have all come through one door.
func (m *metrics) applied(items []item, results []result, took time.Duration) {
	d := string(items[0].door)
	m.batch.WithLabelValues(d).Observe(float64(len(items)))
	m.seconds.WithLabelValues(d).Observe(took.Seconds())
	outcomes := make(map[string]float64) // a counter is looked up once for a turn
	for i := range results {
		outcome := "applied"
		switch err := results[i].err; {
		case err == nil:
		case errors.Is(err, errUnknownDefinition):
			outcome = "unknown_definition"
		case errors.Is(err, errUnknownSaga):
			outcome = "unknown_saga"
		default:
			outcome = "rejected"
		}
		outcomes[outcome]++
	}
	for outcome, n := range outcomes {
		m.events.WithLabelValues(d, outcome).Add(n)
	}
}

func (m *metrics) accepted(answers []acceptance, took time.Duration) {
	d := string(doorIntake)
	m.batch.WithLabelValues(d).Observe(float64(len(answers)))
	m.seconds.WithLabelValues(d).Observe(took.Seconds())
	outcomes := make(map[string]float64)
	for _, a := range answers {
		switch {
		case a.err != nil:
			outcomes["key_reused"]++
		case a.replayed:
			outcomes["replayed"]++
		default:
			outcomes["accepted"]++
		}
	}
	for outcome, n := range outcomes {
		m.orders.WithLabelValues(outcome).Add(n)
	}
}

// hear counts what was committed.
func (m *metrics) hear(t *turn) {
	m.sends.Add(float64(len(t.commands)))
	m.parked.Add(float64(len(t.parked)))
	ended := make(map[saga.State]float64)
	for _, s := range t.sagas {
		if s != nil && s.ends() {
			ended[s.State]++
		}
	}
	for state, n := range ended {
		m.ended.WithLabelValues(state.String()).Add(n)
	}
}
