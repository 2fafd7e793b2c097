package payment

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the service says about the provider; the worker's own metrics count commands and replies.
type metrics struct {
	outcomes    *prometheus.CounterVec
	exchanges   *prometheus.HistogramVec
	configAlarm prometheus.Gauge
	// alarm is the reason of the config alarm; nil while there is none.
	alarm atomic.Pointer[string]
}

// newMetrics registers the metrics; the registerer may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "recourse_payment_outcomes_total",
			Help: "What the provider let us conclude, by kind of operation.",
		}, []string{"kind", "outcome"}),
		exchanges: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "recourse_payment_exchange_seconds",
			Help:    "Time of one exchange with the provider, by call and how it ended.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"call", "outcome"}),
		configAlarm: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "recourse_payment_config_alarm",
			Help: "1 while the provider does not accept our credentials; payments wait until it does.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.outcomes, m.exchanges, m.configAlarm)
	}
	return m
}

// observe counts an answer. The alarm follows the last answer that says anything about the credentials.
func (m *metrics) observe(kind Kind, a Answer) {
	m.outcomes.WithLabelValues(string(kind), outcomeName(a.Outcome)).Inc()
	for _, x := range a.Exchanges {
		m.exchanges.WithLabelValues(string(x.Call), string(x.Outcome)).Observe(x.EndedAt.Sub(x.SentAt).Seconds())
	}
	switch o := a.Outcome.(type) {
	case Unknown:
		if o.Reason == DoubtConfig {
			m.alarm.Store(&o.Detail)
			m.configAlarm.Set(1)
		}
	case Succeeded, Refused, NotFound:
		m.alarm.Store(nil)
		m.configAlarm.Set(0)
	}
}

func outcomeName(outcome Outcome) string {
	switch o := outcome.(type) {
	case Succeeded:
		return "succeeded"
	case Refused:
		return "refused_" + string(o.Class)
	case Unknown:
		return "unknown_" + string(o.Reason)
	case NotFound:
		return "not_found"
	}
	return fmt.Sprintf("%T", outcome)
}
