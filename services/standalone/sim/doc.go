// Package sim plays seeded histories of sagas in virtual time, over the
// decision code that production runs: saga.Decide on the coordinator's side,
// worker.Decide and worker.Row.Next on the participants'.
//
// One history is one saga between one coordinator, its participants and the
// providers behind them. In the safety phase the network loses, doubles,
// reorders and delays; coordinator and participants crash before the commit,
// after the commit and after the answer; providers lose answers and act late;
// customers cancel, deadlines pass, operators pause, retry, settle and close.
// Then everything heals, and in the liveness phase the saga must end.
//
// After every event the invariants of invariant.go are checked against the
// ground truth that the participants and providers keep. The counters of
// sometimes.go fail a run in which a rare path was never taken: a simulator
// that proves nothing must not be green.
//
// A history depends on its seed alone: the same seed gives the same trace hash.
package sim
