// Package mutants breaks the program on purpose and asks whether anything
// notices. Each mutant is a small named change of a source file, a mistake that
// somebody could make; testdata/mutants.txt lists them all, with why each is
// wrong and what should find it. A mutant that nothing finds is a missing test.
//
// The change is applied with the overlay of the go command: the tree is never
// touched, and no build holds a trace of a mutant unless it was asked for by
// name. Tests that build programs themselves build them with the mutant too,
// because the overlay is handed down in GOFLAGS.
//
// What finds mutants is called a killer:
//
//   - unit: tests of a package that need nothing but the processor,
//   - sim: the simulator (recourse sim), with more and more seeds,
//   - explore: the explorer (recourse explore), every interleaving of small definitions,
//   - db: tests of a package on a real PostgreSQL, and a broker in the process.
//
// The first three are cheap and all of them are run, so that it is known how
// strong each is; those on a database are run, in their order, until one kills.
// Before any of it every killer must let the unchanged program live: a test
// that fails anyway kills nothing.
//
// When the text that a mutant replaces is no longer there, or there more than
// once, the list has aged: the run fails and names the mutant and the mend.
package mutants
