package audit

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what an alarm is built on: a difference above 0, or a last success that grows old.
type metrics struct {
	differences *prometheus.GaugeVec
	orders      *prometheus.GaugeVec
	audits      *prometheus.CounterVec
	succeeded   prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer) metrics {
	m := metrics{
		differences: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "recourse_audit_differences", Help: "Differences that the last audit found, by kind.",
		}, []string{"kind"}),
		orders: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "recourse_audit_orders", Help: "Orders that the last audit read, by status.",
		}, []string{"status"}),
		audits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "recourse_audit_audits_total", Help: "Audits, by whether they came to a report.",
		}, []string{"outcome"}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "recourse_audit_last_report_timestamp_seconds", Help: "When the books of the last report were read.",
		}),
	}
	registry.MustRegister(m.differences, m.orders, m.audits, m.succeeded)
	return m
}

func (m metrics) count(r *Report, err error) {
	if err != nil {
		m.audits.WithLabelValues("failed").Inc()
		return
	}
	m.audits.WithLabelValues("report").Inc()
	m.succeeded.Set(float64(r.CheckedAt.Unix()))
	for kind, list := range map[string][]Finding{
		"doubled": r.Doubled, "held_after_undo": r.HeldAfterUndo, "missing": r.Missing, "stock": r.Stock, "money": r.Money,
	} {
		m.differences.WithLabelValues(kind).Set(float64(len(list)))
	}
	m.orders.Reset()
	for status, n := range r.ByStatus {
		m.orders.WithLabelValues(status).Set(float64(n))
	}
}
