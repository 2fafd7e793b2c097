// Package pace tells a loop that works in batches when to let its next batch grow.
//
// A batch costs a transaction, whatever its size: one of 50 costs little more than one of two. While there is room on
// the machine, waiting for company only makes everybody wait. When there is none, small batches are what fills it, and
// waiting costs nobody anything: whoever comes has to wait for the processor anyway.
//
// How full the machine is shows in the loop's own times, wherever its broker and its database are: a batch that took
// longer than such a batch can take has been waiting for something shared. So a loop waits for as long as it was made to
// wait, up to a bound, and not at all when it was not.
package pace
