package coordinator

import (
	"math/rand/v2"
	"time"

	"recourse.dev/coordinator/saga"
)

// reason is why an alarm goes off: a command of the saga is not answered. With it the alarm can be put off again and
// again without a question to the database: a hundred thousand orders that wait for a participant which is down would
// otherwise be read a thousand a second, for nothing, at the cost of all others.
//
// It is what this process knew last. If another one has changed the saga, it watches it too, and the next scan finds
// another revision; see alarms.found.
type reason struct {
	// revision is the saga's; 0 if it was not seen.
	revision int64
	// participant is who was asked; "" if the saga is to be looked at for something else.
	participant string
	partition   int16
	// holdable says that the command may be on its way still, resend that it will be sent again.
	holdable, resend bool
	issued           time.Time
	// other is when the saga wants something else; zero is never.
	other time.Time
}

// whyOf gives the reason of the timer that comes first.
func whyOf(d *saga.Definition, s *saga.Saga, partition int16) reason {
	r := reason{revision: s.Revision}
	first, other := -1, s.Deadline
	for i := range s.Steps {
		due := s.Steps[i].Due
		switch {
		case due.IsZero():
		case first < 0:
			first = i
		case due.Before(s.Steps[first].Due):
			first, other = i, earlier(other, s.Steps[first].Due)
		default:
			other = earlier(other, due)
		}
	}
	if first >= 0 && !s.Paused {
		r = whyOfStep(&d.Steps()[first], &s.Steps[first], partition)
		r.revision, r.other = s.Revision, other
	}
	return r
}

func whyOfStep(spec *saga.Step, st *saga.StepStatus, partition int16) reason {
	return reason{
		participant: spec.Participant, partition: partition, issued: st.IssuedAt, resend: resends(spec, st),
		holdable: st.State == saga.Issued || st.State == saga.Undoing,
	}
}

// earlier is the earlier of two times, of which a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// only says that nothing but the reason is due.
func (r *reason) only(now time.Time) bool {
	return r.participant != "" && (r.other.IsZero() || r.other.After(now))
}

// resends says whether the timer of a step, when it fires, sends the command again; the other way is to give up.
func resends(spec *saga.Step, st *saga.StepStatus) bool {
	if st.State == saga.Undoing || st.State == saga.UndoBackoff || st.State == saga.UndoInDoubt {
		return true
	}
	return st.Attempt < spec.Retry.GiveUp || spec.Kind != saga.Compensatable && !spec.Optional
}

const (
	// A resend that was put off is looked at again after a quarter of the time that the command has been waiting, and
	// some chance, within these bounds: thousands of orders that wait for a participant which is down are not looked at
	// every second.
	minPutOff, maxPutOff = time.Second, 30 * time.Second
)

// putOff says for how long an alarm is put off.
func (r *reason) putOff(now time.Time) time.Duration {
	d := min(maxPutOff, max(minPutOff, now.Sub(r.issued)/4))
	return d + rand.N(d/2)
}
