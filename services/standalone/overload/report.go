package overload

import (
	"fmt"
	"math"
	"slices"
	"time"

	"recourse.dev/services/standalone/load"
)

// Report is what a run ends with.
type Report struct {
	// Sustainable is the maximum as measured before the overload, and again after it; the ratio is to the mean of both.
	Sustainable      float64 `json:"sustainable_per_s"`
	SustainableAfter float64 `json:"sustainable_after_per_s"`

	Factor       float64 `json:"factor"`
	Seconds      int     `json:"seconds"`
	Goodput      float64 `json:"goodput_per_s"`
	GoodputRatio float64 `json:"goodput_ratio"`
	Accepted     int     `json:"accepted"`
	// Refused requests were told when to come back.
	Refused int `json:"refused"`
	// Failed requests got no answer or an error.
	Failed int `json:"failed"`
	// RefusedAfter were refused in the normal load after the overload.
	RefusedAfter int `json:"refused_after"`
	// P99Refusal is the time that a refusal took.
	P99Refusal  float64 `json:"p99_refusal_ms"`
	P50Overload float64 `json:"p50_ms_overload"`
	P99Normal   float64 `json:"p99_ms_normal"`
	P99Overload float64 `json:"p99_ms_overload"`
	P99After    float64 `json:"p99_ms_after"`
	// GeneratorLate is how far the generator itself was behind its plan at worst; Missed requests were not sent at all.
	GeneratorLate   float64        `json:"generator_late_ms"`
	Missed          int            `json:"missed"`
	RecoverySeconds float64        `json:"recovery_seconds"`
	PeakMiB         map[string]int `json:"peak_mib"`
	MaxMiB          int            `json:"max_mib"`
	Down            Down           `json:"participant_down"`
	Audit           Audit          `json:"audit"`
	// Findings are differences between the books, Wrong what makes the run a failure.
	Findings []string `json:"findings,omitempty"`
	Wrong    []string `json:"wrong,omitempty"`
}

// Down is the part with a worker that is stopped.
type Down struct {
	// Waiting orders needed the worker, and Refused ones were not let in.
	Waiting int `json:"waiting"`
	Refused int `json:"refused"`
	// DrainSeconds is the time from its start until all of them had ended.
	DrainSeconds float64         `json:"drain_seconds"`
	Kinds        map[string]Kind `json:"kinds"`
}

// Kind compares orders of one kind with the worker up and down.
type Kind struct {
	Up      int64   `json:"orders_up"`
	Down    int64   `json:"orders_down"`
	P95Up   float64 `json:"p95_ms_up"`
	P95Down float64 `json:"p95_ms_down"`
}

// Audit counts what must not be.
type Audit struct {
	Orders           int `json:"orders"`
	Open             int `json:"open"`
	Doubled          int `json:"doubled"`
	HeldAfterUndo    int `json:"held_after_undo"`
	Missing          int `json:"missing"`
	StockDifferences int `json:"stock_differences"`
	MoneyDifferences int `json:"money_differences"`
}

const (
	// Orders that do not need the worker may take this much longer while it is down.
	slowdown, slowdownFloor = 2.0, 300.0
)

func newReport(o Options) *Report {
	return &Report{Factor: o.Factor, Seconds: o.Seconds, MaxMiB: o.MaxMiB}
}

func (r *Report) offered(overload, after *load.Result) {
	r.Accepted, r.Refused = overload.Outcomes[load.Accepted], overload.Outcomes[load.Refused]
	r.Failed = overload.Outcomes[load.Failed] + overload.Outcomes[load.Unavailable]
	r.RefusedAfter = after.Outcomes[load.Refused]
	if h := overload.Latency[load.Refused]; h != nil {
		r.P99Refusal = milliseconds(h.At(99))
	}
	r.Missed, r.GeneratorLate = overload.Missed+after.Missed, milliseconds(overload.Late)
}

// judge says what is wrong.
func (r *Report) judge(o Options) {
	wrong := func(format string, args ...any) { r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...)) }
	r.Sustainable, r.SustainableAfter, r.Goodput = round(r.Sustainable, 1), round(r.SustainableAfter, 1), round(r.Goodput, 1)
	if r.GoodputRatio < o.LeastGoodput {
		wrong("goodput is %.0f %% of the maximum", 100*r.GoodputRatio)
	}
	if r.RecoverySeconds > o.MostRecovery.Seconds() {
		wrong("latency was back to normal after %.0f s", r.RecoverySeconds)
	}
	if r.Failed > 0 {
		wrong("%d requests failed or were not told when to come back", r.Failed)
	}
	if most := (r.Accepted + r.Refused) / 100; r.Missed > most {
		wrong("%d requests were not sent: the overload was less than %g times the maximum", r.Missed, r.Factor)
	}
	for name, mib := range r.PeakMiB {
		if mib > o.MaxMiB && !slices.Contains(o.Unbounded, name) {
			wrong("%s used %d MiB", name, mib)
		}
	}
	for name, k := range r.Down.Kinds {
		if k.Down == 0 || k.Up == 0 {
			wrong("no order of kind %s was seen both ways", name)
		}
		if k.P95Down > max(slowdown*k.P95Up, k.P95Up+slowdownFloor) {
			wrong("orders of kind %s took %.0f ms instead of %.0f while the worker was down", name, k.P95Down, k.P95Up)
		}
	}
	if a := r.Audit; a.Open+a.Doubled+a.HeldAfterUndo+a.Missing+a.StockDifferences+a.MoneyDifferences > 0 {
		wrong("the books do not add up")
	}
}

// OK says that nothing is wrong.
func (r *Report) OK() bool { return len(r.Wrong) == 0 }

func milliseconds(d time.Duration) float64 { return round(float64(d.Microseconds())/1000, 1) }

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
