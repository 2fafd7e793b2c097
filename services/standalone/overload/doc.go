// Package overload finds out what a running system does with five times the orders that it can work off, and with a
// participant that is down.
//
// It measures the sustainable maximum first, with a closed loop: so many orders are open at all times, and each that
// ends is followed by a new one. Goodput is the number of orders that came to their end a second, by the public topic of
// order events; what was only accepted does not count. In the overload the load is open (package load): it comes whether
// or not the system answers.
//
// Generator and system share the cores of one machine here, so refusing and being refused cost what the work would
// need: the ratio of the goodput in the overload to the maximum is lower than with a generator of its own.
package overload
