// Package saga decides. It holds what a saga is (definition.go), the state it
// is in (saga.go), what can happen to it (event.go) and, in one file that can
// be read from top to bottom, what follows (table.go). Decide applies one event
// to one saga and returns the saga after it and the commands to send.
//
// There is no I/O, no clock, no logger and no context in this package: the same
// function runs in the coordinator, in the simulator, behind "why?" in the API,
// and in the generators of the diagrams and the failure atlas.
//
// The rules in short:
//
//   - A definition is compensatable steps, then at most one pivot, then
//     retriable steps. Steps of one stage run together.
//   - Forward, a stage is issued when the stage before it is done. Backward,
//     every step that was ever issued and is not proven refused is undone, the
//     last stage first.
//   - A missing answer is a lack of knowledge. A compensatable step that does
//     not answer is given up by undoing it, because an undo is also a fence; a
//     pivot, a retriable step and an undo are asked for ever, and an operator
//     is told.
//   - Facts about one effect are ordered by the participant's effect_seq. What
//     arrives late is evidence; a done that is newer than the proof of its undo
//     breaks the contract, raises attention and is undone again.
//
// The scenario files in testdata are the readable specification: each is a
// conversation with a saga and everything it answers.
package saga
