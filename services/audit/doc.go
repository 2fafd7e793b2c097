// Package audit checks that everything adds up: what the coordinator says about
// its orders, what the participants' own books say, and what the providers'
// ledgers, which nobody else writes, say about money and labels.
//
// It reads public interfaces only, so it needs no right that a shop's own
// bookkeeper would not have, and works on a system that runs. It tells for each
// SKU and each currency whether the books agree, and names the order behind
// every difference. Each order that has ended is held by itself against every
// book; what an order that has not ended may or may not have brought about yet is
// no difference.
//
// Real providers show no ledger of theirs; then the services are compared with
// each other, and the report says what was left out.
//
// Conservation is one audit of all orders, Since one of those that came since an
// instant. Service is a process that repeats it and serves the last report: apart
// from what it audits, so that nobody vouches for himself.
package audit
