package saga

import "time"

// Status is what may be said in public about an order. It never says more than
// a recorded reply proves.
type Status uint8

const (
	// StatusAccepted: stored; nothing is proven yet.
	StatusAccepted Status = 1
	// StatusProcessing: something is proven, the rest is on its way.
	StatusProcessing Status = 2
	// StatusConfirmed: the point of no return is behind; the order will be completed.
	StatusConfirmed Status = 3
	// StatusCompleted: every effect is proven there.
	StatusCompleted Status = 4
	// StatusCancelling: what was done is being undone.
	StatusCancelling Status = 5
	// StatusCancelled: every effect is proven gone.
	StatusCancelled Status = 6
	// StatusClosed: an operator closed it with the effects that remain.
	StatusClosed Status = 7
)

// Statuses lists every public status.
var Statuses = []Status{
	StatusAccepted, StatusProcessing, StatusConfirmed, StatusCompleted, StatusCancelling, StatusCancelled, StatusClosed,
}

func (s Status) String() string {
	return [...]string{
		"none", "accepted", "processing", "confirmed", "completed", "cancelling", "cancelled", "closed",
	}[s]
}

// Ended says that the status will not change by itself.
func (s Status) Ended() bool {
	return s == StatusCompleted || s == StatusCancelled || s == StatusClosed
}

// ParseStatus is the inverse of String.
func ParseStatus(text string) (Status, bool) {
	for _, s := range Statuses {
		if s.String() == text {
			return s, true
		}
	}
	return 0, false
}

// StatusOf is the public status of a saga.
func StatusOf(d *Definition, s *Saga) Status {
	switch s.State {
	case Running:
		for i := range s.Steps {
			if s.Steps[i].State == Done {
				return StatusProcessing
			}
		}
		return StatusAccepted
	case Completing, Completed:
		if Fulfilled(d, s) {
			return StatusCompleted
		}
		return StatusConfirmed
	case Compensating:
		return StatusCancelling
	case Compensated:
		return StatusCancelled
	case Closed:
		return StatusClosed
	}
	return 0
}

// Claim is one thing that may be said about an order, with its proof.
type Claim struct {
	// Name is stable, for example "stock_reserved".
	Name string
	Step string
	// Since when it holds.
	Since time.Time
	// Evidence is the message that proves it.
	Evidence string
}

// Claims lists what is proven, in the order of the definition.
func Claims(d *Definition, s *Saga) []Claim {
	var out []Claim
	for i := range d.steps {
		spec, st := &d.steps[i], &s.Steps[i]
		name := ""
		switch {
		case st.State == Done:
			name = spec.Claim
		case st.State == Undone && len(st.Effects) > 0:
			name = spec.Unclaim
		}
		if name != "" {
			out = append(out, Claim{Name: name, Step: spec.Name, Since: st.Since, Evidence: st.Evidence})
		}
	}
	return out
}
