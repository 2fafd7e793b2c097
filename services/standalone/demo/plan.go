package demo

import (
	"fmt"
	"math/rand/v2"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// Outcome is what an order of the demo is meant to come to.
type Outcome string

const (
	Completed      Outcome = "completed"
	OutOfStock     Outcome = "out_of_stock"
	Declined       Outcome = "declined"
	CarrierRefusal Outcome = "carrier_refusal"
	Cancelled      Outcome = "cancelled_in_flight"
	Deadline       Outcome = "deadline"
	// AnswerLost orders complete although an answer of the gateway was lost on the way.
	AnswerLost Outcome = "gateway_answer_lost"
	// WorkerCrash orders complete although the payment worker was killed with them in flight.
	WorkerCrash Outcome = "worker_crash"
)

// mix is the share of each outcome, and what makes an order come to it.
var mix = []struct {
	outcome Outcome
	share   int
	shape   func(n int, o *coordinatorapi.NewOrder)
}{
	{Completed, 50, func(int, *coordinatorapi.NewOrder) {}},
	{OutOfStock, 8, func(_ int, o *coordinatorapi.NewOrder) {
		o.Lines = append(o.Lines, coordinatorapi.OrderLine{Sku: rareSKU, Quantity: rareStock + 1, UnitPriceMinor: 9900})
	}},
	{Declined, 10, func(n int, o *coordinatorapi.NewOrder) {
		o.PaymentToken = []string{"tok_declined", "tok_insufficient_funds"}[n%2]
	}},
	{CarrierRefusal, 7, func(_ int, o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" }},
	{Cancelled, 8, func(_ int, o *coordinatorapi.NewOrder) { o.PaymentToken = "tok_slow" }},
	{Deadline, 5, func(_ int, o *coordinatorapi.NewOrder) {
		o.PaymentToken, o.DeadlineSeconds = "tok_slow", ptr(1)
	}},
	{AnswerLost, 7, func(n int, o *coordinatorapi.NewOrder) {
		o.PaymentToken = []string{"tok_answer_lost", "tok_capture_answer_lost"}[n%2]
	}},
	{WorkerCrash, 5, func(int, *coordinatorapi.NewOrder) {}},
}

// rareOf is this run's own item, so that what an earlier run left over does not help.
func rareOf(run string) string { return rareSKU + "-" + run }

const (
	rareSKU   = "SKU-ONE-OF-A-KIND"
	rareStock = 5
	location  = "BERLIN-1"
)

var catalogue = []string{
	"SKU-MUG-BLUE", "SKU-MUG-RED", "SKU-TEAPOT", "SKU-KETTLE", "SKU-SPOON", "SKU-SAUCER", "SKU-TRAY", "SKU-TIN",
}

// planned is one order of the demo.
type planned struct {
	outcome Outcome
	key     string
	order   coordinatorapi.NewOrder
}

// plan draws n orders. The first ones take each outcome in turn, so that a
// small demo covers all of them too.
func plan(n int, seed uint64, run string) []planned {
	rng := rand.New(rand.NewPCG(seed, seed))
	total := 0
	for _, m := range mix {
		total += m.share
	}
	out := make([]planned, 0, n)
	for i := range n {
		m := mix[i%len(mix)]
		if i >= len(mix) {
			at := rng.IntN(total)
			for _, candidate := range mix {
				if at -= candidate.share; at < 0 {
					m = candidate
					break
				}
			}
		}
		o := draw(rng, fmt.Sprintf("%s-%d", run, i+1))
		m.shape(i, &o)
		for k := range o.Lines {
			if o.Lines[k].Sku == rareSKU {
				o.Lines[k].Sku = rareOf(run)
			}
		}
		o.TotalMinor = total64(o)
		out = append(out, planned{outcome: m.outcome, key: fmt.Sprintf("demo-%s-%d", run, i+1), order: o})
	}
	return out
}

func draw(rng *rand.Rand, reference string) coordinatorapi.NewOrder {
	o := coordinatorapi.NewOrder{
		Shop: "demo", CustomerID: fmt.Sprintf("cus_%d", 1+rng.IntN(50)), Reference: reference, Currency: "EUR",
		PaymentToken: "tok_visa", ShippingMinor: ptr[int64](490),
		ShipTo: coordinatorapi.Address{
			Name: "Ada Lovelace", Lines: []string{"Unter den Linden 1"}, City: "Berlin", PostalCode: ptr("10117"),
			Country: "DE", Email: ptr("ada@example.com"),
		},
	}
	for _, k := range rng.Perm(len(catalogue))[:1+rng.IntN(3)] {
		o.Lines = append(o.Lines, coordinatorapi.OrderLine{
			Sku: catalogue[k], Quantity: 1 + rng.Int64N(3), UnitPriceMinor: 500 + 10*rng.Int64N(300),
		})
	}
	return o
}

func total64(o coordinatorapi.NewOrder) int64 {
	sum := *o.ShippingMinor
	for _, l := range o.Lines {
		sum += l.Quantity * l.UnitPriceMinor
	}
	return sum
}

func ptr[T any](v T) *T { return &v }
