// Package invariant says what must hold between a saga and the world, whatever
// fails on the way. The simulator holds random histories to it, the explorer
// every history of a small definition.
//
// The world is the ground truth: what is really there, as the participants and
// the providers behind them know it, not as anybody was told.
package invariant
