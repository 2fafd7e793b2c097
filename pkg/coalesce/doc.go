// Package coalesce gathers what many goroutines ask for at about the same time into one call.
//
// A statement for each of 64 outside calls is 64 round trips and 64 commits; one statement for all of them is one. A
// Group runs a function over slices: Do hands one input in and returns its output when the batch that it went into is
// through. While a batch is on its way the next one gathers, so batches grow with the load and a lone caller waits for
// nobody, unless Linger asks for it.
//
// It is made for the moment before an outside effect, when an intent must be stored, or a condition looked at, one by
// one in meaning and all at once in fact. An error is shared by the whole batch: nobody in it may go on.
package coalesce
