package carriersim

import (
	"slices"
	"time"

	"recourse.dev/pkg/sandbox"
)

// Route names of the API, for fault rules and triggers.
const (
	routeCreate = "create"
	routeBuy    = "buy"
	routeRefund = "refund"
	routeGet    = "get"
	routeList   = "list"
)

// Trigger says what an address does to the requests of its shipment.
type Trigger struct {
	// Country and Zip are compared with the address; empty matches any.
	Country string
	Zip     string
	// Route is the request that is struck.
	Route string
	// Kind is how it is struck.
	Kind sandbox.Kind
	// Wait is how long, for the kinds that wait.
	Wait func(Config) time.Duration
	// Refusal is what sandbox.Decline answers; nil for a refund, which is rejected in the shipment itself.
	Refusal *Error
}

var (
	notServed = refuse("address_not_served", "Nobody delivers to this address.")
	noAddress = refuse("address_invalid", "There is no such address.")
)

// triggers is every address that makes trouble. doc.go explains each.
var triggers = []Trigger{
	{Country: "AQ", Route: routeCreate, Kind: sandbox.Decline, Refusal: notServed},
	{Zip: "00000", Route: routeCreate, Kind: sandbox.Decline, Refusal: noAddress},
	{Zip: "CREATE-LOST", Route: routeCreate, Kind: sandbox.DropAfter},
	{Zip: "BUY-LOST", Route: routeBuy, Kind: sandbox.DropAfter},
	{Zip: "BUY-LATE", Route: routeBuy, Kind: sandbox.LateEffect, Wait: lateDelay},
	{Zip: "BUY-500", Route: routeBuy, Kind: sandbox.Status500},
	{Zip: "BUY-REFUSED", Route: routeBuy, Kind: sandbox.Decline, Refusal: notServed},
	{Zip: "REFUND-LOST", Route: routeRefund, Kind: sandbox.DropAfter},
	{Zip: "REFUND-LATE", Route: routeRefund, Kind: sandbox.LateEffect, Wait: lateDelay},
	{Zip: "REFUND-REJECTED", Route: routeRefund, Kind: sandbox.Decline},
	{Zip: "SLOW", Route: routeBuy, Kind: sandbox.Delay, Wait: slowDelay},
}

// Triggers lists the addresses that make trouble.
func Triggers() []Trigger {
	return slices.Clone(triggers)
}

func lateDelay(c Config) time.Duration { return c.LateDelay }
func slowDelay(c Config) time.Duration { return c.SlowDelay }

// strike adds an address's faults to the call, and returns the refusal that a Decline stands for. Lost answers are
// left to losesAnswer: only what was done loses its answer, so that a repeat is told that it came too late.
func strike(call *sandbox.Call, route string, to Address, config Config) *Error {
	refusal := notServed // by a rule of the admin API
	for _, trigger := range triggers {
		if !trigger.matches(route, to) || trigger.Kind == sandbox.DropAfter {
			continue
		}
		wait := time.Duration(0)
		if trigger.Wait != nil {
			wait = trigger.Wait(config)
		}
		call.Plan.Strike(trigger.Kind, wait)
		if trigger.Refusal != nil {
			refusal = trigger.Refusal
		}
	}
	if !call.Plan.Decline {
		return nil
	}
	return refusal
}

func losesAnswer(route string, to Address) bool {
	return slices.ContainsFunc(triggers, func(trigger Trigger) bool {
		return trigger.Kind == sandbox.DropAfter && trigger.matches(route, to)
	})
}

func (t Trigger) matches(route string, to Address) bool {
	return t.Route == route && (t.Country == "" || t.Country == to.Country) && (t.Zip == "" || t.Zip == to.Zip)
}
