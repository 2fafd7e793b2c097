package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// Items: many ordinary ones, one that everybody wants and few get, and one of which nothing is left.
const (
	location    = "BERLIN-1"
	items       = 200
	hotItem     = "SKU-HOT"
	hotUnits    = 150
	goneItem    = "SKU-GONE"
	unitsOfItem = 1_000_000
)

func item(n int) string { return fmt.Sprintf("SKU-%03d", n) }

// purchase is one order as a shop wants it.
type purchase struct {
	n     int
	kind  string
	key   string
	order coordinatorapi.NewOrder
	// cancelAfter is how long after its acceptance the order is cancelled; below 0 is never.
	cancelAfter time.Duration
	// never says that it must not be completed, come what may.
	never bool
	// posts is how many requests go out side by side under the same key.
	posts int
	// otherBody sends another order under the same key afterwards.
	otherBody bool
	// malformed must be refused.
	malformed bool
}

// shapes make an order of each kind out of an ordinary one. All of them end by themselves. What only an operator can
// end is not among them: a refund that the carrier rejects for good (REFUND-REJECTED).
var shapes = map[string]func(rng *rand.Rand, p *purchase){
	"happy": func(*rand.Rand, *purchase) {},
	"hot": func(_ *rand.Rand, p *purchase) {
		p.order.Lines = append(p.order.Lines, coordinatorapi.OrderLine{Sku: hotItem, Quantity: 1, UnitPriceMinor: 9900})
	},
	"refused_stock": func(_ *rand.Rand, p *purchase) {
		p.never = true
		p.order.Lines = append(p.order.Lines, coordinatorapi.OrderLine{Sku: goneItem, Quantity: 1, UnitPriceMinor: 100})
	},
	"refused_payment": func(rng *rand.Rand, p *purchase) {
		p.never = true
		p.order.PaymentToken = pick(rng, "tok_declined", "tok_insufficient_funds", "tok_authentication_required")
	},
	"refused_shipment": func(rng *rand.Rand, p *purchase) {
		p.never = true
		p.order.ShipTo.Country, p.order.ShipTo.PostalCode = "AQ", nil
	},
	"refused_capture": func(rng *rand.Rand, p *purchase) {
		p.never = true
		p.order.PaymentToken = pick(rng, "tok_capture_declined", "tok_auth_expires")
	},
	// The provider's answers go missing; the orders complete all the same.
	"doubtful_payment": func(rng *rand.Rand, p *purchase) {
		p.order.PaymentToken = pick(rng, "tok_answer_lost", "tok_answer_lost_3", "tok_unknown_long", "tok_late_effect",
			"tok_500_saved", "tok_slow", "tok_capture_answer_lost", "tok_capture_late", "tok_capture_500_saved")
	},
	"doubtful_shipment": func(rng *rand.Rand, p *purchase) {
		zip := pick(rng, "CREATE-LOST", "BUY-LOST", "BUY-LATE", "BUY-500", "SLOW")
		p.order.ShipTo.PostalCode = &zip
	},
	// What was done is undone, and the provider's answers to that go missing.
	"doubtful_undo": func(rng *rand.Rand, p *purchase) {
		p.order.PaymentToken = pick(rng, "tok_void_answer_lost", "tok_void_late")
		zip := pick(rng, "REFUND-LOST", "REFUND-LATE", "BUY-REFUSED")
		p.order.ShipTo.PostalCode = &zip
		p.cancelAfter = time.Duration(50+rng.IntN(300)) * time.Millisecond
	},
	"cancelled": func(rng *rand.Rand, p *purchase) {
		p.cancelAfter = time.Duration(rng.IntN(800)) * time.Millisecond
		p.order.PaymentToken = pick(rng, "tok_visa", "tok_slow", "tok_late_effect")
	},
	"deadline": func(rng *rand.Rand, p *purchase) {
		p.order.DeadlineSeconds = ptr(1)
		p.order.PaymentToken = pick(rng, "tok_visa", "tok_slow", "tok_late_effect", "tok_unknown_long")
	},
	"same_key":   func(rng *rand.Rand, p *purchase) { p.posts = 2 + rng.IntN(4) },
	"other_body": func(_ *rand.Rand, p *purchase) { p.otherBody = true },
	"malformed":  func(_ *rand.Rand, p *purchase) { p.malformed = true },
}

var defaultMix = []Share{
	{"happy", 45},
	{"hot", 5},
	{"refused_stock", 4},
	{"refused_payment", 4},
	{"refused_shipment", 4},
	{"refused_capture", 3},
	{"doubtful_payment", 8},
	{"doubtful_shipment", 4},
	{"doubtful_undo", 3},
	{"cancelled", 5},
	{"deadline", 5},
	{"same_key", 5},
	{"other_body", 2},
	{"malformed", 3},
}

// draw makes the n-th order of a plan; it depends on the plan's seed and n alone.
func (p *Plan) draw(n int) purchase {
	rng := rand.New(rand.NewPCG(p.Seed, uint64(n)+1))
	out := purchase{
		n: n, key: fmt.Sprintf("chaos-%d-%d", p.Seed, n), cancelAfter: -1, posts: 1,
		order: coordinatorapi.NewOrder{
			Shop: fmt.Sprintf("shop-%d", rng.IntN(3)), CustomerID: fmt.Sprintf("cus_%d", rng.IntN(500)),
			Reference: fmt.Sprintf("C-%d-%d", p.Seed, n), Currency: pick(rng, "EUR", "EUR", "USD"), PaymentToken: "tok_visa",
			ShipTo: coordinatorapi.Address{
				Name: "Ada Lovelace", Lines: []string{"Unter den Linden 1"}, City: "Berlin", PostalCode: ptr("10117"),
				Country: "DE", Email: ptr("ada@example.com"),
			},
		},
	}
	for _, k := range rng.Perm(items)[:1+rng.IntN(3)] {
		out.order.Lines = append(out.order.Lines, coordinatorapi.OrderLine{
			Sku: item(k), Quantity: 1 + rng.Int64N(3), UnitPriceMinor: 500 + 10*rng.Int64N(300),
		})
	}
	out.kind = p.kindOfOrder(rng)
	shapes[out.kind](rng, &out)
	for _, l := range out.order.Lines {
		out.order.TotalMinor += l.Quantity * l.UnitPriceMinor
	}
	return out
}

func (p *Plan) kindOfOrder(rng *rand.Rand) string {
	parts := 0
	for _, s := range p.Mix {
		parts += s.Parts
	}
	at := rng.IntN(parts)
	for _, s := range p.Mix {
		if at -= s.Parts; at < 0 {
			return s.Kind
		}
	}
	return p.Mix[0].Kind
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func ptr[T any](v T) *T { return &v }
