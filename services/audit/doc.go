// Package audit checks that everything adds up: what the coordinator says about
// its orders, what the participants' own books say, and what the providers'
// ledgers, which nobody else writes, say about money and labels.
//
// It reads public interfaces only, so it needs no right that a shop's own
// bookkeeper would not have, and works on a system that runs. It tells for each
// SKU and each currency whether the books agree, and names the order behind
// every difference. Orders that have not ended are allowed for: what they may or
// may not have brought about yet is a range, and only what lies outside it is a
// difference.
//
// Conservation is one audit. Service is a process that repeats it and serves the
// last report: apart from what it audits, so that nobody vouches for himself.
package audit
