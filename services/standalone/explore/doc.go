// Package explore plays every history of a few small definitions, over the
// decision code that production runs: saga.Decide on the coordinator's side,
// worker.Decide and worker.Row.Next on the participants'. It is the exhaustive
// sibling of package sim and holds its histories to the same invariants.
//
// A state is one saga, the rows of its participants, the ground truth behind
// them and the messages in flight. Every event that is possible in a state is
// tried; states are hashed, so that what two histories have in common is
// explored once. What may happen:
//
//   - Any message in flight arrives next, or never: it then takes the step's
//     timer to send it again. Messages are a set, so an equal one that is sent
//     again while it is in flight adds nothing that a repeat would not show.
//   - A message arrives and stays in flight, which is a repeat.
//   - A timer fires whenever its step waits. Time is abstract: the instants and
//     the count of sends beyond Retry.GiveUp are no part of a state.
//   - A customer cancels, or the deadline passes, at any point.
//   - A participant does, refuses or puts off; an undo is refused. A call
//     outside is answered, or acted upon without an answer, or acted upon late;
//     its participant asks again.
//   - A process dies before the commit, after the commit and before it has sent
//     anything, or after it has sent everything and before the offsets. Each
//     step's participant is a process of its own.
//
// Repeats, deaths, refused undos and put-off commands are bounded (Bounds), and
// so are refusals of a step that must succeed; with that the number of states
// is finite and all of them are visited. Afterwards a walk backward shows that
// from each of them the saga can end by itself: without a fault, a refusal, a
// cancel or the deadline from then on.
package explore
