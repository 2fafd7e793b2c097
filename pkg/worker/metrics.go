package worker

import "github.com/prometheus/client_golang/prometheus"

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
	m := &metrics{
		commands: prometheus.NewCounterVec(counter("commands_total",
			"Commands by type and by what was decided about them."), []string{"type", "verdict"}),
		outcomes: prometheus.NewCounterVec(counter("settled_total",
			"Outside calls settled, by type of command and by outcome."), []string{"type", "outcome"}),
		parked: prometheus.NewCounterVec(counter("parked_total",
			"Records that could not be applied and were parked as dead letters."), []string{"reason"}),
		batchRecords: prometheus.NewHistogram(histogram("batch_records",
			"Records of one transaction.", []float64{1, 2, 5, 10, 20, 50, 100, 200, 500})),
		batchSeconds: prometheus.NewHistogram(histogram("batch_seconds",
			"Time to process one poll, without producing its replies.", seconds)),
		callSeconds: prometheus.NewHistogramVec(histogram("call_seconds",
			"Outside calls, by type of command and by whether an answer came.", seconds), []string{"type", "result"}),
		callsInFlight: prometheus.NewGauge(gauge("calls_in_flight", "Outside calls on their way.")),
		inDoubt:       prometheus.NewGauge(gauge("in_doubt_rows", "Effects whose outcome is unknown.")),
		inDoubtOldest: prometheus.NewGauge(gauge("in_doubt_oldest_seconds",
			"Age of the oldest effect whose outcome is unknown.")),
		probes: prometheus.NewCounter(counter("probes_total", "Questions asked again about effects in doubt.")),
		postponed: prometheus.NewCounter(counter("settle_failures_total",
			"Answers that could not be written down through a fault of the handler.")),
		unresolvable: prometheus.NewCounter(counter("unresolvable_total",
			"Due questions that this build cannot ask.")),
		lostRaces: prometheus.NewCounter(counter("lost_races_total",
			"Batches that ran again because another owner of the partition was faster.")),
	}
	if registerer != nil {
		registerer.MustRegister(m.commands, m.outcomes, m.parked, m.batchRecords, m.batchSeconds, m.callSeconds,
			m.callsInFlight, m.inDoubt, m.inDoubtOldest, m.probes, m.postponed, m.unresolvable, m.lostRaces)
	}
	return m
}
