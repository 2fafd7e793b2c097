package coordinator

import (
	"sync"
	"time"

	"recourse.dev/coordinator/saga"
)

// budget bounds resends, so that they cannot keep an overload alive whose cause is gone: a participant that is too slow
// to answer gets a tenth more commands than there is new work, and not a multiple.
//
// First sends pay a tenth of a token each, a floor keeps a quiet system asking, and every resend takes a token. One that
// is answered gives it back: where somebody answers, as after a broker's log was wiped, thousands of resends are no
// burden. A resend that finds no token is not lost; its timer is set again.
type budget struct {
	mu     sync.Mutex
	tokens float64
	at     time.Time
}

const (
	resendRatio = 0.1
	// resendFloor is the resends a second that are allowed whatever happens.
	resendFloor = 10.0
	// resendBurst is how many tokens can be saved up.
	resendBurst = 200.0
)

func newBudget(now time.Time) *budget { return &budget{tokens: resendBurst, at: now} }

// take takes a token if there is one.
func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pass(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// left is how many tokens there are to take.
func (b *budget) left(now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pass(now)
	return int(b.tokens)
}

// pass earns what the time that has passed is worth.
func (b *budget) pass(now time.Time) {
	b.pay(max(0, now.Sub(b.at).Seconds()) * resendFloor)
	b.at = now
}

func (b *budget) pay(tokens float64) { b.tokens = min(resendBurst, b.tokens+tokens) }

// hear earns from what was committed.
func (b *budget) hear(t *turn) {
	earned := 0.0
	for _, s := range t.sagas {
		if s == nil || !s.changed {
			continue
		}
		for i := range s.Steps {
			var before saga.StepStatus // of a new saga
			if i < len(s.before.Steps) {
				before = s.before.Steps[i]
			}
			earned += earns(&before, &s.Steps[i])
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pay(earned)
}

// earns says what the change of a step is worth. A step that waits for an answer has a timer, and no other step has.
func earns(before, after *saga.StepStatus) float64 {
	switch {
	case before.State == after.State && before.Attempt == after.Attempt:
		return 0
	case after.Attempt == 1 && !after.Due.IsZero() && before.Attempt != 1:
		return resendRatio
	case before.Attempt > 1 && !before.Due.IsZero() && after.Attempt <= before.Attempt:
		return 1
	}
	return 0
}
