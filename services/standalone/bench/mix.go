package bench

import (
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// fate is how an order is meant to end.
type fate int

const (
	completes fate = iota
	// declined at the payment, refused at the shipment: all before it is taken back.
	declined
	refused
)

// fateOf is the floor's mix: of each hundred orders ten are declined and five refused.
func fateOf(n uint64) fate {
	switch m := n * 37 % 100; {
	case m < 10:
		return declined
	case m < 15:
		return refused
	}
	return completes
}

// What decides an order's fate stands in its document, in the words of the simulated providers.
const (
	tokenGood     = "tok_visa"
	tokenDeclined = "tok_declined"
	countryGood   = "DE"
	countryAway   = "AQ"
)

func newOrder(reference, sku string, f fate) *orderv1.Order {
	o := &orderv1.Order{
		Shop: "bench", CustomerId: "cus_1", Reference: reference, Currency: "EUR", PaymentToken: tokenGood,
		TotalMinor: 1250,
		Lines:      []*orderv1.Line{{Sku: sku, Quantity: 1, UnitPriceMinor: 1250}},
		ShipTo: &orderv1.Address{
			Name: "Ada Lovelace", Lines: []string{"Unter den Linden 1"}, City: "Berlin", PostalCode: "10117",
			Country: countryGood, Email: "ada@example.com",
		},
	}
	switch f {
	case declined:
		o.PaymentToken = tokenDeclined
	case refused:
		o.ShipTo.Country = countryAway
	case completes:
	}
	return o
}
