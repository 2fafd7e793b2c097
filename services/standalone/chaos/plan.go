package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// planVersion is that of the file's layout and of what its fields mean.
const planVersion = 1

// Plan is everything about a run that chance decides. Equal plans bring the same faults upon the same orders; when
// exactly a fault meets an order is up to the machine.
type Plan struct {
	Version int    `json:"version"`
	Seed    uint64 `json:"seed"`
	// Sagas is the number of orders that are submitted, one saga each.
	Sagas int `json:"sagas"`
	// Rate is how many orders are submitted in a second at most, and Shops how many are open at a time at most.
	Rate  float64 `json:"rate"`
	Shops int     `json:"shops"`
	// Mix is the share of each kind of order.
	Mix []Share `json:"mix"`
	// Faults are in the order in which they strike.
	Faults []Fault `json:"faults"`
}

// Share says how many parts of the whole are of a kind.
type Share struct {
	Kind  string `json:"kind"`
	Parts int    `json:"parts"`
}

// Fault is one thing that goes wrong.
type Fault struct {
	Kind string `json:"kind"`
	// On is the component that it strikes, where there is a choice.
	On string `json:"on,omitempty"`
	// How is the variant, where there are several.
	How string `json:"how,omitempty"`
	// After is the number of submitted orders that it waits for.
	After int `json:"after"`
	// ForMS is how long it lasts, in milliseconds.
	ForMS int64 `json:"for_ms"`
}

func (f Fault) lasts() time.Duration { return time.Duration(f.ForMS) * time.Millisecond }

func (f Fault) String() string {
	text := f.Kind
	if f.On != "" {
		text += " on " + f.On
	}
	if f.How != "" {
		text += " (" + f.How + ")"
	}
	return text
}

const (
	defaultRate  = 70
	defaultShops = 700
	// perMinute are the orders and faults of a minute, for runs that are measured in minutes.
	sagasPerMinute, faultsPerMinute = 1500, 12
)

// NewPlan draws a plan. Every kind of fault comes up once before any comes up again, and the last one strikes while
// orders are still being submitted.
func NewPlan(seed uint64, sagas, faults int) *Plan {
	rng := rand.New(rand.NewPCG(seed, 0xc4a05))
	p := &Plan{
		Version: planVersion, Seed: seed, Sagas: sagas, Rate: defaultRate, Shops: defaultShops, Mix: slices.Clone(defaultMix),
	}
	var round []*kind
	for i := range faults {
		if len(round) == 0 {
			round = slices.Clone(kinds)
			rng.Shuffle(len(round), func(a, b int) { round[a], round[b] = round[b], round[a] })
		}
		k := round[0]
		round = round[1:]
		f := Fault{Kind: k.name, After: (sagas*95*(2*i+1) + 100*faults) / (200 * faults)}
		if len(k.on) > 0 {
			f.On = k.on[rng.IntN(len(k.on))]
		}
		if len(k.how) > 0 {
			f.How = k.how[rng.IntN(len(k.how))]
		}
		f.ForMS = k.least.Milliseconds()
		if spread := (k.most - k.least).Milliseconds(); spread > 0 {
			f.ForMS += rng.Int64N(spread)
		}
		p.Faults = append(p.Faults, f)
	}
	return p
}

// PlanForMinutes draws a plan whose orders take about that long.
func PlanForMinutes(seed uint64, minutes int) *Plan {
	return NewPlan(seed, minutes*sagasPerMinute, minutes*faultsPerMinute)
}

// ReadPlan reads a plan file and checks it.
func ReadPlan(path string) (*Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	p := &Plan{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(p); err != nil {
		return nil, fmt.Errorf("reading the plan %s: it is no plan of `recourse chaos`: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the plan %s: something follows the plan", path)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("reading the plan %s: %w", path, err)
	}
	return p, nil
}

// Write keeps the plan as a file that ReadPlan reads.
func (p *Plan) Write(path string) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the plan: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil { //nolint:gosec // it is for everybody to read
		return fmt.Errorf("writing the plan: %w", err)
	}
	return nil
}

func (p *Plan) check() error {
	switch {
	case p.Version != planVersion:
		return fmt.Errorf("version %d is not known: this build plays version %d", p.Version, planVersion)
	case p.Sagas < 1 || p.Sagas > 10_000_000:
		return fmt.Errorf("sagas %d: want 1 to 10000000", p.Sagas)
	case !(p.Rate > 0):
		return fmt.Errorf("rate %g: want orders a second, above 0", p.Rate)
	case p.Shops < 1:
		return fmt.Errorf("shops %d: want 1 or more", p.Shops)
	}
	parts := 0
	for _, s := range p.Mix {
		if _, ok := shapes[s.Kind]; !ok || s.Parts < 0 {
			return fmt.Errorf("mix: %d parts of %q: no such kind of order", s.Parts, s.Kind)
		}
		parts += s.Parts
	}
	if parts == 0 {
		return errors.New("mix: it is empty")
	}
	for i, f := range p.Faults {
		if err := f.check(); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	return nil
}

func (f Fault) check() error {
	k := kindOf(f.Kind)
	switch {
	case k == nil:
		return fmt.Errorf("kind %q is not known", f.Kind)
	case f.On != "" && !slices.Contains(k.on, f.On), f.On == "" && len(k.on) > 0:
		return fmt.Errorf("%s on %q: want one of %v", f.Kind, f.On, k.on)
	case f.How != "" && !slices.Contains(k.how, f.How), f.How == "" && len(k.how) > 0:
		return fmt.Errorf("%s in the way %q: want one of %v", f.Kind, f.How, k.how)
	case f.After < 0 || f.ForMS < 0 || f.ForMS > 600_000:
		return fmt.Errorf("%s after %d orders for %d ms: want 0 or more, and at most 600000 ms", f.Kind, f.After, f.ForMS)
	}
	return nil
}
