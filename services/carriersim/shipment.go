package carriersim

import (
	"slices"
	"time"

	"recourse.dev/pkg/money"
)

// Status is where a parcel stands.
type Status string

const (
	// Unknown has no label yet.
	Unknown Status = "unknown"
	// PreTransit has a label that was paid for.
	PreTransit Status = "pre_transit"
	// Cancelled had its label refunded.
	Cancelled Status = "cancelled"
)

// The values of a shipment's refund_status.
const (
	refunded = "refunded"
	rejected = "rejected"
)

// maxWeight is the heaviest parcel, in ounces: 70 pounds.
const maxWeight = 1120

// Address is where a parcel goes.
type Address struct {
	Name    string `json:"name"`
	Street1 string `json:"street1"`
	Street2 string `json:"street2"`
	City    string `json:"city"`
	State   string `json:"state"`
	Zip     string `json:"zip"`
	Country string `json:"country"`
	Phone   string `json:"phone"`
	Email   string `json:"email"`
}

// Parcel is what is carried.
type Parcel struct {
	// Weight is in ounces.
	Weight float64 `json:"weight"`
}

// Item is a content of the parcel, for the carrier's papers.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Rate is an offer to carry the parcel.
type Rate struct {
	ID           string         `json:"id"`
	Carrier      string         `json:"carrier"`
	Service      string         `json:"service"`
	Rate         string         `json:"rate"`
	Currency     money.Currency `json:"currency"`
	DeliveryDays int            `json:"delivery_days"`
}

// Label is the paper that was paid for.
type Label struct {
	ID  string `json:"id"`
	URL string `json:"label_url"`
}

// Shipment is a parcel as callers see it and as the ledger file keeps it. A value is never changed once it is shared.
type Shipment struct {
	ID           string    `json:"id"`
	Object       string    `json:"object"`
	Reference    string    `json:"reference"`
	Status       Status    `json:"status"`
	ToAddress    Address   `json:"to_address"`
	Parcel       Parcel    `json:"parcel"`
	Items        []Item    `json:"items"`
	Rates        []Rate    `json:"rates"`
	SelectedRate *Rate     `json:"selected_rate"`
	PostageLabel *Label    `json:"postage_label"`
	TrackingCode *string   `json:"tracking_code"`
	RefundStatus *string   `json:"refund_status"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// services are what the carrier offers: a price for the parcel and one for each started pound.
var services = []struct {
	name            string
	base, eachPound int64
	days            int
}{
	{"Standard", 390, 100, 3},
	{"Express", 990, 200, 1},
}

// ratesFor prices a parcel, cheapest first.
func ratesFor(parcel Parcel, currency money.Currency) []Rate {
	pounds := int64(parcel.Weight/16) + 1
	rates := []Rate{}
	for _, service := range services {
		price := money.Money{Minor: service.base + pounds*service.eachPound, Currency: currency}
		rates = append(rates, Rate{
			ID: newID("rate"), Carrier: "Simpost", Service: service.name, Rate: price.Amount(), Currency: currency,
			DeliveryDays: service.days,
		})
	}
	return rates
}

// price is what the bought label cost.
func (s Shipment) price() money.Money {
	price, err := money.ParseAmount(s.SelectedRate.Rate, s.SelectedRate.Currency)
	if err != nil {
		panic("a rate is not an amount: " + err.Error()) // made by ratesFor, checked when replayed
	}
	return price
}

// live reports whether the shipment has a label that was paid for and not refunded.
func (s Shipment) live() bool {
	return s.Status == PreTransit
}

// outcome is what an operation does to a shipment: the shipment after it (nil if it is unchanged), the entry of the
// ledger if money moved, and the refusal if there is one.
type outcome struct {
	after   *Shipment
	kind    EntryKind
	refusal *Error
}

// buy pays for one label.
func (s Shipment) buy(rateID string, declined *Error, labels string, now time.Time) outcome {
	at := slices.IndexFunc(s.Rates, func(r Rate) bool { return r.ID == rateID })
	switch {
	case s.TrackingCode != nil:
		return outcome{refusal: refuse("shipment_already_bought", "A label was already bought for this shipment.")}
	case at < 0:
		return outcome{refusal: refuse("rate_not_found", "The rate is not one of this shipment's.")}
	case declined != nil:
		return outcome{refusal: declined}
	}
	code, label := newTrackingCode(), newID("pl")
	s.Status, s.TrackingCode, s.SelectedRate, s.UpdatedAt = PreTransit, &code, &s.Rates[at], now
	s.PostageLabel = &Label{ID: label, URL: labels + label + ".txt"}
	return outcome{after: &s, kind: LabelBought}
}

// refund gives the label back; a carrier that does not want to says so in the shipment.
func (s Shipment) refund(accepted bool, now time.Time) outcome {
	switch {
	case s.TrackingCode == nil:
		return outcome{refusal: refuse("shipment_not_bought", "There is no label to refund.")}
	case !s.live():
		return outcome{refusal: refuse("refund_not_allowed", "The label was already refunded.")}
	}
	status := rejected
	kind := EntryKind("")
	if accepted {
		status, kind, s.Status = refunded, LabelRefunded, Cancelled
	}
	s.RefundStatus, s.UpdatedAt = &status, now
	return outcome{after: &s, kind: kind}
}

// checkShipment reports every field that is missing or wrong.
func checkShipment(p createParams) *Error {
	var fields []FieldError
	need := func(field, value string) {
		if value == "" || len(value) > maxText {
			fields = append(fields, FieldError{Field: field, Message: "is required, and has at most 500 bytes"})
		}
	}
	need("reference", p.Reference)
	need("to_address.name", p.ToAddress.Name)
	need("to_address.street1", p.ToAddress.Street1)
	need("to_address.city", p.ToAddress.City)
	need("to_address.zip", p.ToAddress.Zip)
	if !isCountry(p.ToAddress.Country) {
		fields = append(fields, FieldError{Field: "to_address.country", Message: "wants two upper-case letters"})
	}
	if p.Parcel.Weight <= 0 {
		fields = append(fields, FieldError{Field: "parcel.weight", Message: "wants ounces above 0"})
	}
	for _, item := range p.Items {
		if item.SKU == "" || item.Quantity <= 0 {
			fields = append(fields, FieldError{Field: "items", Message: "each wants a sku and a quantity above 0"})
			break
		}
	}
	if fields != nil {
		invalid := refuse("invalid_params", "Some fields are missing or wrong.")
		invalid.Errors = fields
		return invalid
	}
	if p.Parcel.Weight > maxWeight {
		return refuse("weight_limit", "A parcel may weigh at most 1120 oz.")
	}
	return nil
}

func isCountry(code string) bool {
	return len(code) == 2 && code[0] >= 'A' && code[0] <= 'Z' && code[1] >= 'A' && code[1] <= 'Z'
}
