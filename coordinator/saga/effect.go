package saga

import (
	"fmt"

	"github.com/google/uuid"
)

// EffectKey names one effect. Every attempt carries the same key, and it is the
// idempotency key that outside providers get.
func EffectKey(id uuid.UUID, step string, generation uint32) string {
	return fmt.Sprintf("%s:%s:%d", id, step, generation)
}

// Holding says what is known about an effect.
type Holding string

const (
	// Intended: asked for, not answered.
	Intended Holding = "intended"
	// Held: proven there.
	Held Holding = "held"
	// Consumed: proven there and used up by a later step.
	Consumed Holding = "consumed"
	// Released: proven gone.
	Released Holding = "released"
	// Unknown: the participant itself does not know.
	Unknown Holding = "unknown"
	// SettledByHand: an operator vouches that nothing more is to be done.
	SettledByHand Holding = "settled"
)

// LedgerEntry is one thing that an order holds, held, or may hold.
type LedgerEntry struct {
	Step        string
	Participant string
	Effect
	Holding Holding
	// Evidence is the message that proves it; empty while nothing does.
	Evidence string
}

// Ledger is everything that the saga holds in the world, and how it knows.
func Ledger(d *Definition, s *Saga) []LedgerEntry {
	var out []LedgerEntry
	for i := range d.steps {
		h := holding(d, s, i)
		if h == "" {
			continue
		}
		spec, st := &d.steps[i], &s.Steps[i]
		entry := LedgerEntry{Step: spec.Name, Participant: spec.Participant, Holding: h, Evidence: st.Evidence}
		if h == Intended || h == Unknown {
			entry.Evidence = ""
		}
		if len(st.Effects) == 0 {
			entry.Effect = Effect{Kind: spec.Effect}
			out = append(out, entry)
			continue
		}
		for _, e := range st.Effects {
			entry.Effect = e
			out = append(out, entry)
		}
	}
	return out
}

// holding is empty for a step that is proven to have brought nothing about.
func holding(d *Definition, s *Saga, i int) Holding {
	st := &s.Steps[i]
	switch st.State {
	case Issued, Backoff:
		return Intended
	case InDoubt, UndoInDoubt:
		return Unknown
	case Done:
		if j := d.consumer[i]; j >= 0 && s.Steps[j].State == Done {
			return Consumed
		}
		return Held
	case Undoing, UndoBackoff:
		if len(st.Effects) > 0 {
			return Held
		}
		return Unknown // the do was never answered; the undo's answer settles it
	case Undone:
		if len(st.Effects) == 0 {
			return ""
		}
		return Released
	case Skipped:
		if st.EverIssued {
			return Unknown // optional and given up
		}
		return ""
	case Settled:
		return SettledByHand
	case Idle, Refused:
		return ""
	}
	return ""
}

// Residue lists what is not proven gone. It is empty for a compensated saga.
func Residue(d *Definition, s *Saga) []LedgerEntry {
	var out []LedgerEntry
	for _, e := range Ledger(d, s) {
		if e.Holding != Released && e.Holding != SettledByHand {
			out = append(out, e)
		}
	}
	return out
}
