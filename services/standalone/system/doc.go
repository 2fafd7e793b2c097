// Package system tests the whole platform: API in, workers real, PostgreSQL
// real, a broker that speaks the protocol, and the simulators' own ledgers read
// afterwards. It has tests only.
//
// The coordinator and the participants live under two topic prefixes, and the
// network between them is a forwarder of the tests: it can lose, hold, double,
// shuffle and forge the records of one order without touching another's. No
// line of production code knows about it.
package system
