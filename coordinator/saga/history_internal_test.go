package saga

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stored are the codes that histories hold. A line is only ever added.
const stored = `
event 1 reply_done
event 2 reply_refused
event 3 reply_retry
event 4 reply_in_doubt
event 5 reply_fenced
event 6 undo_done
event 7 undo_refused
event 8 undo_retry
event 9 undo_in_doubt
event 10 timer_fired
event 11 operator_retry
event 12 operator_settle
event 13 step_issue
event 14 step_undo
event 20 accepted
event 21 cancel_requested
event 22 deadline_passed
event 23 operator_undo
event 24 operator_pause
event 25 operator_resume
event 26 operator_close
event 30 step_refused
event 31 step_given_up
event 32 point_of_no_return
event 33 all_done
event 34 all_undone
event 35 effect_returned
saga 1 running
saga 2 completing
saga 3 compensating
saga 4 completed
saga 5 compensated
saga 6 closed
step 1 idle
step 2 issued
step 3 backoff
step 4 in_doubt
step 5 done
step 6 refused
step 7 undoing
step 8 undo_backoff
step 9 undo_in_doubt
step 10 undone
step 11 skipped
step 12 settled
announce 1 accepted
announce 2 confirmed
announce 3 completed
announce 4 cancelling
announce 5 cancelled
announce 6 closed
announce 7 attention_raised
announce 8 attention_cleared
answer 1 agreed
answer 2 pending_decision
answer 3 too_late
answer 4 already_ended
answer 5 not_possible
send 1 do
send 2 undo
decided 1 send
decided 2 announce
decided 3 answer
decided 16 begin
decided 17 ignore
decided 18 ignore, it is no longer current
decided 19 keep as evidence
decided 20 keep as evidence, it is of another generation
decided 21 decline
decided 22 nothing to undo
decided 23 send do
decided 24 send undo
decided 25 send again
decided 26 send again, tell an operator
decided 27 hold the effect
decided 28 hold an effect that was not asked for
decided 29 take note of the refusal
decided 30 do without it
decided 31 try again under a new effect key, tell an operator
decided 32 wait
decided 33 give up, go back
decided 34 give up, do without it
decided 35 settle by hand as done
decided 36 settle by hand as undone
decided 37 the effect is gone
decided 38 tell an operator, ask again slowly
decided 39 undo it again, tell an operator
decided 40 tell an operator
decided 41 nothing
decided 42 undo what was issued
decided 43 only forward from here
decided 44 end
decided 45 open again
decided 46 agree
decided 47 agree, undo what was issued
decided 48 remember the wish
decided 49 remember the deadline
decided 50 too late
decided 51 already ended
decided 52 send nothing until resumed
decided 53 go on
decided 54 close with what remains
decided 55 hold what was refused before, tell an operator
decided 56 tell an operator, it cannot be undone
decided 57 hold the effect until it is undone`

func TestHistory_CodesAreThoseOfStoredHistories(t *testing.T) {
	t.Parallel()
	var lines strings.Builder
	say := func(what string, code int, name string) {
		if name != "" {
			fmt.Fprintf(&lines, "\n%s %d %s", what, code, name)
		}
	}
	for k := range EventKind(64) {
		say("event", int(k), k.String())
	}
	for _, s := range States {
		say("saga", int(s), s.String())
	}
	for _, s := range StepStates {
		say("step", int(s), s.String())
	}
	for f := FactAccepted; f <= FactAttentionCleared; f++ {
		say("announce", int(f), f.String())
	}
	for v := Agreed; v <= NotPossible; v++ {
		say("answer", int(v), v.String())
	}
	say("send", int(OpDo), OpDo.String())
	say("send", int(OpUndo), OpUndo.String())
	say("decided", decidedSend, "send")
	say("decided", decidedAnnounce, "announce")
	say("decided", decidedAnswer, "answer")
	for code, deed := range deeds {
		say("decided", code, deed)
	}
	require.Equal(t, stored, lines.String())
}

func TestHistory_EveryRowOfTheTablesHasACode(t *testing.T) {
	t.Parallel()
	for _, row := range stepTable {
		require.Contains(t, deedCodes, row.do.name)
	}
	for _, row := range sagaTable {
		require.Contains(t, deedCodes, row.do.name)
	}
	require.Len(t, deedCodes, len(deeds)-firstDeed, "a deed has two codes")
}
