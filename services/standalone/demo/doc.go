// Package demo submits a seeded mix of orders that covers every way in which an
// order can end, follows them to their ends and checks that everything adds up.
//
// It speaks to the platform as a shop would, over REST; the one thing that it
// does from behind is to kill a worker with orders in flight.
package demo
