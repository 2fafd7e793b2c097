package worker

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Effect names one effect: what EffectKey writes as text.
type Effect struct {
	SagaID     uuid.UUID
	Step       string
	Generation int
}

// ParseEffectKey reads what EffectKey has written.
func ParseEffectKey(key string) (Effect, error) {
	// The step's name may hold a colon, the saga and the generation cannot.
	saga, rest, _ := strings.Cut(key, ":")
	at := strings.LastIndexByte(rest, ':')
	if at < 0 {
		return Effect{}, fmt.Errorf("effect key %q is not saga:step:generation", key)
	}
	id, err := uuid.Parse(saga)
	if err != nil {
		return Effect{}, fmt.Errorf("effect key %q: %w", key, err)
	}
	generation, err := strconv.ParseUint(rest[at+1:], 10, 31)
	if err != nil {
		return Effect{}, fmt.Errorf("effect key %q: %w", key, err)
	}
	if err := checkStepName(rest[:at]); err != nil {
		return Effect{}, fmt.Errorf("effect key %q: %w", key, err)
	}
	return Effect{SagaID: id, Step: rest[:at], Generation: int(min(generation, math.MaxInt32))}, nil
}

// Wake makes the questions about effects due at once, because somebody outside has said that there is news: the
// resolver asks now and not at the next appointment. What the news is decides nothing here; only the answer to the
// question does.
//
// Of the effects in doubt it returns those whose question is due now (true) and those that are being asked about, or
// written down, at this moment (false): for these somebody has to come back, since the answer on its way may be older
// than the news. Effects that are not in doubt are not in the result. Call Poke after the transaction.
func (w *Worker) Wake(ctx context.Context, tx pgx.Tx, effects []Effect) (map[Effect]bool, error) {
	keys := make([]rowKey, len(effects))
	for i, e := range effects {
		keys[i] = rowKey{e.SagaID, e.Step, e.Generation}
	}
	return wakeRows(ctx, tx, keys)
}

// Poke lets the resolver look for due questions now.
func (w *Worker) Poke() {
	select {
	case w.poked <- struct{}{}:
	default:
	}
}
