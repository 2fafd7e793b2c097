// Package scenario plays conversations with a saga: the commands of the files
// in coordinator/saga/testdata, and everything that the saga answers. The files
// are the readable specification of the tables; the explorer of
// services/standalone writes the shortest way to a defect as one more of them.
//
//	define            one stage a line, steps of a stage separated by |, each:
//	                  NAME KIND PARTICIPANT [outside] [optional] [consumes=STEP] [give_up=N]
//	accept            the order is accepted at 00:00
//	reply STEP KIND   done, refused, retry, in_doubt, fenced, undone, undo_refused, undo_retry, undo_in_doubt
//	                  [seq=N] [gen=N] [code=C] [after=10s]
//	tick              the clock goes to the next timer, which fires  [to=5m]
//	tick STEP         only the timer of this step fires, late if it must; tick deadline likewise
//	cancel, undo, pause, resume, close, retry STEP, settle STEP
//	show              ledger, claims and explanation
package scenario
