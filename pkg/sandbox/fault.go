package sandbox

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is one way to misbehave.
type Kind string

const (
	// DropBefore closes the connection and does nothing.
	DropBefore Kind = "drop_before"
	// Status503 answers 503 and does nothing.
	Status503 Kind = "status_503"
	// Status429 answers 429 and does nothing.
	Status429 Kind = "status_429"
	// LateEffect waits, then does it, even if the caller has left.
	LateEffect Kind = "late_effect"
	// Decline refuses it as the provider would.
	Decline Kind = "decline"
	// Status500 does it and answers 500.
	Status500 Kind = "status_500"
	// Delay does it and answers later.
	Delay Kind = "delay"
	// DropAfter does it and closes the connection.
	DropAfter Kind = "drop_after"
)

const (
	// HookDrop never sends the webhook.
	HookDrop Kind = "drop"
	// HookLate sends it later.
	HookLate Kind = "late"
	// HookDuplicate sends it twice.
	HookDuplicate Kind = "duplicate"
	// HookReorder sends it after the one that comes next, or after a while if none comes.
	HookReorder Kind = "reorder"
)

// HookKinds lists every kind of RouteWebhook.
var HookKinds = []Kind{HookDrop, HookLate, HookDuplicate, HookReorder}

// Kinds lists every kind of a request in the order in which they strike a request.
var Kinds = []Kind{DropBefore, Status503, Status429, LateEffect, Decline, Status500, Delay, DropAfter}

// AnyRoute makes a rule strike every route of requests.
const AnyRoute = "*"

// RouteWebhook is where the kinds of HookKinds belong, and no others: what the provider sends by itself.
const RouteWebhook = "webhook"

// maxDelay bounds a rule's delay: a longer one is a slip of the unit.
const maxDelay = 10 * time.Minute

// reorderFor is how long HookReorder waits for a webhook that could overtake.
const reorderFor = 2 * time.Second

// Rule makes requests to a route fail in one way.
type Rule struct {
	Route string `json:"route"`
	Kind  Kind   `json:"kind"`
	// Count is how often the rule strikes; 0 means until it is removed.
	Count int `json:"count,omitempty"`
	// Probability is how likely the rule strikes each time; 0 means always.
	Probability float64 `json:"probability,omitempty"`
	// DelayMS is how long LateEffect, Delay and HookLate wait, and HookReorder at most.
	DelayMS int64 `json:"delay_ms,omitempty"`
}

// Plan is what shall go wrong with one request or webhook. The zero plan is one that just works.
type Plan struct {
	// Refuse is DropBefore, Status503 or Status429, or empty.
	Refuse Kind
	// Late is how long to wait before the effect.
	Late time.Duration
	// Decline refuses the request as the provider would.
	Decline bool
	// Fail answers 500 after the effect.
	Fail bool
	// Slow is how long to wait between the effect and its answer.
	Slow time.Duration
	// Drop loses the answer, or the webhook.
	Drop bool
	// Twice sends a webhook twice.
	Twice bool
	// Overtaken sends a webhook after the next one, or when the time is over.
	Overtaken time.Duration
}

// Strike adds a fault to the plan.
func (p *Plan) Strike(kind Kind, delay time.Duration) {
	switch kind {
	case DropBefore, Status503, Status429:
		if p.Refuse == "" {
			p.Refuse = kind
		}
	case LateEffect:
		p.Late = max(p.Late, delay)
	case Decline:
		p.Decline = true
	case Status500:
		p.Fail = true
	case Delay:
		p.Slow = max(p.Slow, delay)
	case DropAfter, HookDrop:
		p.Drop = true
	case HookLate:
		p.Late = max(p.Late, delay)
	case HookDuplicate:
		p.Twice = true
	case HookReorder:
		p.Overtaken = max(p.Overtaken, cmp.Or(delay, reorderFor))
	}
}

// Faults holds the rules of a simulator. It is safe for concurrent use.
type Faults struct {
	routes []string

	mu     sync.Mutex
	random *rand.Rand
	rules  []Rule
}

// NewFaults makes an empty set of rules for the routes. Equal seeds draw equal probabilities.
func NewFaults(seed uint64, routes ...string) *Faults {
	return &Faults{routes: routes, random: rand.New(rand.NewPCG(seed, 0))}
}

// Set adds a rule, or replaces the one of the same route and kind.
func (f *Faults) Set(rule Rule) error {
	if err := f.check(rule); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = slices.DeleteFunc(f.rules, func(old Rule) bool {
		return old.Route == rule.Route && old.Kind == rule.Kind
	})
	f.rules = append(f.rules, rule)
	return nil
}

// Clear forgets all rules.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Rules lists the rules with the counts they have left.
func (f *Faults) Rules() []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rules)
}

// Take makes the plan of one request and uses up the counts of the rules that strike it.
func (f *Faults) Take(route string) Plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	plan := Plan{}
	left := f.rules[:0]
	for _, rule := range f.rules {
		if rule.Route != route && (rule.Route != AnyRoute || route == RouteWebhook) ||
			rule.Probability > 0 && f.random.Float64() >= rule.Probability {
			left = append(left, rule)
			continue
		}
		plan.Strike(rule.Kind, time.Duration(rule.DelayMS)*time.Millisecond)
		if rule.Count != 1 {
			rule.Count = max(rule.Count-1, 0)
			left = append(left, rule)
		}
	}
	f.rules = left
	return plan
}

func (f *Faults) check(rule Rule) error {
	waits := rule.Kind == LateEffect || rule.Kind == Delay || rule.Kind == HookLate
	kinds := Kinds
	if rule.Route == RouteWebhook {
		kinds = HookKinds
	}
	switch {
	case rule.Route != AnyRoute && !slices.Contains(f.routes, rule.Route):
		return fmt.Errorf("route %q is not known: want one of %s, *", rule.Route, strings.Join(f.routes, ", "))
	case !slices.Contains(kinds, rule.Kind):
		return fmt.Errorf("kind %q is not known for route %s: want one of %v", rule.Kind, rule.Route, kinds)
	case rule.Count < 0:
		return fmt.Errorf("count %d is below 0", rule.Count)
	case rule.Probability < 0 || rule.Probability > 1:
		return fmt.Errorf("probability %g is not between 0 and 1", rule.Probability)
	case waits && (rule.DelayMS <= 0 || rule.DelayMS > maxDelay.Milliseconds()):
		return fmt.Errorf("delay_ms %d: %s needs a delay between 1 ms and %v", rule.DelayMS, rule.Kind, maxDelay)
	case rule.Kind == HookReorder && (rule.DelayMS < 0 || rule.DelayMS > maxDelay.Milliseconds()):
		return fmt.Errorf("delay_ms %d: want at most %v, or 0 for %v", rule.DelayMS, maxDelay, reorderFor)
	case !waits && rule.Kind != HookReorder && rule.DelayMS != 0:
		return fmt.Errorf("delay_ms is not for kind %s", rule.Kind)
	}
	return nil
}
