// Package clock reads the wall clock, so that a test can step it in a process that runs.
//
// In a normal build Now is time.Now and inlined to it. Built with `-tags crashpoints`, as for package crash, and started
// with RECOURSE_CLOCK_FILE=path, a process adds the duration that the file holds ("1h", "-90s") to every reading. The
// file is read again after 100 ms at the latest; a missing or empty one means no offset. As a real step of the clock
// would, the offset moves what is read from the wall and nothing else: timers, deadlines of contexts and the
// differences of two time.Now go by the monotonic clock.
//
// No decision of the platform should depend on this clock; see pg.Clock. A step shows which one does.
package clock

// EnvVar names the file of the offset; it is read once, at the start of a process that was built with the tag.
const EnvVar = "RECOURSE_CLOCK_FILE"
