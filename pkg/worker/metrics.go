package worker

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are labelled with the participant, because several may run in one process.
type metrics struct {
	commands      *prometheus.CounterVec
	outcomes      *prometheus.CounterVec
	parked        *prometheus.CounterVec
	batchRecords  prometheus.Histogram
	batchSeconds  prometheus.Histogram
	callSeconds   *prometheus.HistogramVec
	callsInFlight prometheus.Gauge
	inDoubt       prometheus.Gauge
	inDoubtOldest prometheus.Gauge
	probes        prometheus.Counter
	postponed     prometheus.Counter
	unresolvable  prometheus.Counter
	lostRaces     prometheus.Counter
	wrongGuesses  prometheus.Counter
	pruned        *prometheus.CounterVec
}

func newMetrics(participant string, registerer prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{
			Namespace: "recourse", Subsystem: "worker", Name: name, Help: help,
			ConstLabels: prometheus.Labels{"participant": participant},
		}
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		o := opts(name, help)
		return prometheus.HistogramOpts{
			Namespace: o.Namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help, ConstLabels: o.ConstLabels,
			Buckets: buckets,
		}
	}
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts(opts(name, help)) }
	gauge := func(name, help string) prometheus.GaugeOpts { return prometheus.GaugeOpts(opts(name, help)) }
	seconds := prometheus.ExponentialBuckets(0.001, 2, 15)
	return &metrics{
		commands: registerMetric(registerer, prometheus.NewCounterVec(counter("commands_total",
			"Commands by type, by what was decided about them, and by the state of the row that they met."),
			[]string{"type", "verdict", "row"})),
		outcomes: registerMetric(registerer, prometheus.NewCounterVec(counter("settled_total",
			"Outside calls settled, by type of command and by outcome."), []string{"type", "outcome"})),
		parked: registerMetric(registerer, prometheus.NewCounterVec(counter("parked_total",
			"Records that could not be applied and were parked as dead letters."), []string{"reason"})),
		batchRecords: registerMetric(registerer, prometheus.NewHistogram(histogram("batch_records",
			"Records of one poll.", []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}))),
		batchSeconds: registerMetric(registerer, prometheus.NewHistogram(histogram("batch_seconds",
			"Time to process one poll, without producing its replies.", seconds))),
		callSeconds: registerMetric(registerer, prometheus.NewHistogramVec(histogram("call_seconds",
			"Outside calls, by type of command and by whether an answer came.", seconds), []string{"type", "result"})),
		callsInFlight: registerMetric(registerer, prometheus.NewGauge(gauge("calls_in_flight",
			"Outside calls on their way."))),
		inDoubt: registerMetric(registerer, prometheus.NewGauge(gauge("in_doubt_rows",
			"Effects whose outcome is unknown, those whose first call is on its way included."))),
		inDoubtOldest: registerMetric(registerer, prometheus.NewGauge(gauge("in_doubt_oldest_seconds",
			"Age of the oldest effect whose outcome is unknown."))),
		probes: registerMetric(registerer, prometheus.NewCounter(counter("probes_total",
			"Questions asked again about effects in doubt."))),
		postponed: registerMetric(registerer, prometheus.NewCounter(counter("settle_failures_total",
			"Answers that could not be written down through a fault of the handler."))),
		unresolvable: registerMetric(registerer, prometheus.NewCounter(counter("unresolvable_total",
			"Due questions that this build cannot ask."))),
		pruned: registerMetric(registerer, prometheus.NewCounterVec(counter("pruned_total",
			"Rows deleted because their retention is over, by table."), []string{"table"})),
		lostRaces: registerMetric(registerer, prometheus.NewCounter(counter("lost_races_total",
			"Batches that ran again because another owner of the partition was faster."))),
		wrongGuesses: registerMetric(registerer, prometheus.NewCounter(counter("wrong_guesses_total",
			"Batches that ran again because a command that looked new might not be."))),
	}
}

// registerMetric takes a collector that is there already: a worker that starts again in one process goes on counting.
func registerMetric[C prometheus.Collector](registerer prometheus.Registerer, collector C) C {
	if registerer == nil {
		return collector
	}
	err := registerer.Register(collector)
	if err == nil {
		return collector
	}
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := there.ExistingCollector.(C); ok {
			return existing
		}
	}
	panic("worker: registering a metric: " + err.Error())
}
