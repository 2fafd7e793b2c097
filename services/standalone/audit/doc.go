// Package audit checks that everything adds up: what the coordinator says about
// its orders, what the participants' own books say, and what the providers'
// ledgers, which nobody else writes, say about money and labels.
//
// It reads public interfaces only and names the order behind every difference.
// Orders that have not ended are allowed for: what they may or may not have
// brought about yet is a range, and only what lies outside it is a difference.
package audit
