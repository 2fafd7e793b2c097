// Package order knows what an order is. It holds the shipped definitions
// (definition.go), the rules that a submitted order must keep before anything is
// stored (document.go), and how an order becomes the commands of its saga's
// steps (command.go).
//
// Like coordinator/saga it is pure: no I/O, no clock, no logger. A step that is
// added to a definition needs its command here and nothing else.
package order
