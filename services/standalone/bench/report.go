package bench

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run measured. Everything a saga is divided by the sagas that ended.
type Report struct {
	Workload string `json:"workload"`
	// Loop is closed or open, with InFlight or Rate.
	Loop     string  `json:"loop"`
	InFlight int     `json:"in_flight,omitempty"`
	Rate     float64 `json:"rate,omitempty"`
	// Broker is embedded or kafka.
	Broker   string `json:"broker"`
	Postgres string `json:"postgres"`
	Cores    int    `json:"cores"`
	Warmup   int    `json:"warmup"`
	Seed     uint64 `json:"seed"`
	// Coordinators and Workers are how many there are of each participant, or of the inventory alone with real services.
	Coordinators int `json:"coordinators"`
	Workers      int `json:"workers"`
	// Finished orders lay in the databases before.
	Finished int `json:"finished,omitempty"`

	Measured
	// Spread is HotSKU's run in which the orders want many SKUs, and Ratio by how much the hot one is faster.
	Spread *Measured `json:"spread,omitempty"`
	Ratio  float64   `json:"ratio,omitempty"`
	// Intake is HTTP's run in which orders are placed as fast as they are answered, while the workers work on them, and
	// IntakeAlone the one while the workers are stopped.
	Intake      *Intake `json:"intake,omitempty"`
	IntakeAlone *Intake `json:"intake_alone,omitempty"`

	// Waiting is the other half of a run with orders that wait for a dead worker: WaitingRate and WaitingCPU are sagas a
	// second and CPU with them by those without, DrainedPerS is how many of them ended a second when it was back.
	Waiting     *Waiting `json:"waiting,omitempty"`
	WaitingRate float64  `json:"waiting_rate_ratio"`
	WaitingCPU  float64  `json:"waiting_cpu_ratio"`
	DrainedPerS float64  `json:"drained_per_s"`

	// The following are of the whole run, the warm-up and what else went before included.
	RowWrites float64 `json:"row_writes_saga"`
	Commits   float64 `json:"commits_saga"`
	HotShare  float64 `json:"hot_share"`
	// HotByTable is that of each "database.table" that is updated.
	HotByTable map[string]float64 `json:"hot_by_table"`
	// Batches are records or requests of a transaction, on average.
	Batches map[string]float64 `json:"batch"`
	PeakRSS float64            `json:"peak_rss_mib"`

	Waits      map[string]float64 `json:"waits,omitempty"`
	Statements []Statement        `json:"statements,omitempty"`
	// Stopped says that the run was stopped before its end; then nothing was checked.
	Stopped bool `json:"stopped"`
	// Conservation says that everything adds up, and Wrong what does not.
	Conservation bool     `json:"conservation"`
	Wrong        []string `json:"wrong"`
	// Notes say what somebody who compares figures should know.
	Notes []string `json:"notes,omitempty"`
}

// Measured are the figures of one phase.
type Measured struct {
	Sagas     int     `json:"sagas"`
	Seconds   float64 `json:"seconds"`
	SagasPerS float64 `json:"sagas_per_s"`
	quantiles
	Completed   int `json:"completed"`
	Compensated int `json:"compensated"`
	// Refused orders were turned away by the platform, Missed ones not sent by the generator, which was LateMS behind.
	Refused int     `json:"refused"`
	Missed  int     `json:"missed"`
	LateMS  float64 `json:"late_ms"`
	// Answer is the time until an order was accepted.
	Answer quantiles `json:"answer"`
	// CPU is by part: postgres and total measured from outside, the parts of this process by profile.
	CPU map[string]float64 `json:"cpu_ms_saga"`
	// Services divides workers and providers by service.
	Services      map[string]float64 `json:"cpu_ms_saga_services"`
	OwnCores      float64            `json:"own_cores"`
	WAL           float64            `json:"wal_bytes_saga"`
	DatabaseBytes float64            `json:"database_bytes_saga"`
	Allocs        float64            `json:"go_allocs_saga"`
	AllocBytes    float64            `json:"go_bytes_saga"`
	// Memory is the most that this process had in each tenth of the time, MemoryGrowth how much more it was in the last
	// three of them than in the three after the first.
	Memory       []float64 `json:"rss_mib_tenths"`
	MemoryGrowth float64   `json:"rss_growth_mib"`
}

// Intake is how fast orders were taken in.
type Intake struct {
	Sagas        int     `json:"sagas"`
	AcceptedPerS float64 `json:"accepted_per_s"`
	quantiles
	Refused int `json:"refused"`
	// CPU and the two after it are of an order until it is accepted, with what the workers did meanwhile.
	CPU        map[string]float64 `json:"cpu_ms_order"`
	Allocs     float64            `json:"go_allocs_order"`
	AllocBytes float64            `json:"go_bytes_order"`
	// SagasPerS is how many ended a second, from the first order to the last end.
	SagasPerS float64 `json:"sagas_per_s"`
}

// partTotal and the two others are measured from outside; see part.go for the rest.
const (
	partPostgres = "postgres"
	partTotal    = "total"
)

// measure fills in the figures of a phase between two readings, in which so many orders were worked on.
func measure(t tally, of int, p *placing, a, b reading, shares map[string]float64) Measured {
	n := float64(max(1, of))
	seconds := max(1e-9, b.at.Sub(p.start).Seconds())
	if t.ended() > 0 && t.last.After(p.start) {
		seconds = t.last.Sub(p.start).Seconds()
	}
	a4 := func(d time.Duration) float64 { return digits(milliseconds3(d) / n) }
	self := b.self - a.self
	m := Measured{
		Sagas: t.ended(), Seconds: digits(seconds), SagasPerS: digits(float64(t.ended()) / seconds), quantiles: t.quantiles,
		Completed: t.completed, Compensated: t.compensated,
		Refused: int(p.refused.Load()), Missed: p.missed, LateMS: milliseconds(p.late), Answer: quantilesOf(p.answers),
		CPU: map[string]float64{
			partCoordinator: 0, partWorkers: 0, partBroker: 0, partGenerator: 0, partRuntime: 0,
			partPostgres: a4(b.postgres - a.postgres),
			partTotal:    a4(self + b.postgres - a.postgres + b.kafka - a.kafka),
		},
		Services: map[string]float64{},
		OwnCores: digits((self + b.postgres - a.postgres + b.kafka - a.kafka).Seconds() / b.at.Sub(a.at).Seconds()),
		WAL:      digits(float64(b.wal-a.wal) / n), DatabaseBytes: digits(float64(b.databases-a.databases) / n),
		Allocs: digits(float64(b.allocs-a.allocs) / n), AllocBytes: digits(float64(b.allocated-a.allocated) / n),
	}
	for part, share := range shares {
		if _, service, ok := strings.Cut(part, "/"); ok {
			m.Services[service] = a4(time.Duration(share * float64(self)))
			continue
		}
		m.CPU[part] = a4(time.Duration(share * float64(self)))
	}
	if b.kafka > 0 {
		m.CPU[partBroker] = a4(b.kafka - a.kafka)
	}
	return m
}

// digits rounds to four significant ones.
func digits(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e5) / 100 }

func milliseconds3(d time.Duration) float64 { return d.Seconds() * 1000 }

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	how := fmt.Sprintf("closed loop, %d in flight", r.InFlight)
	if r.Rate > 0 {
		how = fmt.Sprintf("open loop, %g a second", r.Rate)
	}
	line("workload", "%s, %s, %s broker, PostgreSQL %s, %d cores", r.Workload, how, r.Broker, r.Postgres, r.Cores)
	if r.Coordinators > 1 || r.Workers > 1 {
		line("coordinators, workers", "%d, %d", r.Coordinators, r.Workers)
	}
	if r.Finished > 0 {
		line("finished orders", "%d lay in the databases before", r.Finished)
	}
	r.tell(line)
	if s := r.Spread; s != nil {
		line("", "")
		line("spread over SKUs", "%g sagas a second; one SKU has %g of that", s.SagasPerS, r.Ratio)
		s.tell(line)
	}
	if w := r.Waiting; w != nil {
		line("", "")
		line("waiting", "%d orders; the others had %g of the rate and %g of the CPU without them", w.Sagas, r.WaitingRate, r.WaitingCPU)
		line("drained", "%g a second, %g s from the worker's start", r.DrainedPerS, w.Drained)
		line("", "")
		line("without them", "")
		w.Alone.tell(line)
	}
	r.Intake.tell("intake", line)
	r.IntakeAlone.tell("intake alone", line)
	line("", "")
	line("of the whole run", "")
	line("rows, commits a saga", "%g rows written, %g commits, HOT share %g", r.RowWrites, r.Commits, r.HotShare)
	line("HOT by table", "%s", list(r.HotByTable))
	line("batches", "%s", list(r.Batches))
	line("peak memory", "%g MiB (without PostgreSQL)", r.PeakRSS)
	if len(r.Waits) > 0 {
		line("PostgreSQL waits", "%s", list(r.Waits))
	}
	for _, s := range r.Statements {
		line(fmt.Sprintf("  %g ms", s.MillisecondsSaga), "%g calls, %g rows a saga: %s", s.CallsSaga, s.RowsSaga, s.SQL)
	}
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	verdict := "everything adds up"
	switch {
	case r.Stopped:
		verdict = "stopped before the end; nothing was checked"
	case !r.Conservation:
		verdict = "THIS DOES NOT ADD UP"
	}
	line("conservation", "%s", verdict)
	_ = t.Flush() // to a screen
	for _, text := range r.Wrong[:min(20, len(r.Wrong))] {
		fmt.Fprintln(w, "WRONG:", text)
	}
}

func (m *Measured) tell(line func(name, format string, args ...any)) {
	line("sagas", "%d in %g s: %d completed, %d compensated", m.Sagas, m.Seconds, m.Completed, m.Compensated)
	line("sagas a second", "%g", m.SagasPerS)
	line("order to end", "p50 %g  p95 %g  p99 %g  p999 %g ms", m.P50, m.P95, m.P99, m.P999)
	line("order to answer", "p50 %g  p95 %g  p99 %g  p999 %g ms", m.Answer.P50, m.Answer.P95, m.Answer.P99, m.Answer.P999)
	if m.Refused > 0 || m.Missed > 0 || m.LateMS > 0 {
		line("generator", "%d refused, %d missed, late by up to %g ms", m.Refused, m.Missed, m.LateMS)
	}
	line("CPU ms a saga", "%s", list(m.CPU))
	line("  by service", "%s", list(m.Services))
	line("own cores", "%g", m.OwnCores)
	line("bytes a saga", "%g WAL, %g database, %g Go (%g allocations)", m.WAL, m.DatabaseBytes, m.AllocBytes, m.Allocs)
	line("memory by tenth", "%v MiB; %+g MiB from the second to the fourth to the last three", m.Memory, m.MemoryGrowth)
}

func (i *Intake) tell(name string, line func(name, format string, args ...any)) {
	if i == nil {
		return
	}
	line("", "")
	line(name, "%d orders, %g accepted a second", i.Sagas, i.AcceptedPerS)
	line("order to answer", "p50 %g  p95 %g  p99 %g  p999 %g ms", i.P50, i.P95, i.P99, i.P999)
	line("CPU ms an order", "%s", list(i.CPU))
	line("Go an order", "%g bytes, %g allocations", i.AllocBytes, i.Allocs)
	line("sagas a second", "%g, from the first order to the last end", i.SagasPerS)
}

// list writes figures by size.
func list(m map[string]float64) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(math.Copysign(1, m[b]-m[a]))
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %g", name, m[name]))
	}
	return strings.Join(parts, ", ")
}
