package chaos

import (
	"time"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/audit"
	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"
)

// Kinds are the names of all kinds of fault.
func Kinds() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Check is what ReadPlan checks.
func (p *Plan) Check() error { return p.check() }

// Draw is the kind of an order.
func (p *Plan) Draw(n int) string { return p.draw(n).kind }

// Case is an order as a client knows it, for a verdict.
type Case struct {
	ID, Reference string
	Never, Lost   bool
	Ended         bool
	Cancel        string
	Seen          []Sighting
	History       []coordinatorapi.HistoryEntry
}

// Sighting is a status that a client saw.
type Sighting struct {
	Status   coordinatorapi.OrderStatus
	Revision int64
	At       time.Time
}

// Books are what a verdict is made of.
type Books struct {
	Cases     []Case
	Orders    []coordinatorapi.OrderSummary
	Audit     *audit.Report
	Gateway   []gatewaysim.Entry
	Carrier   []carriersim.Entry
	Shipments map[string]string
	Letters   []coordinatorapi.DeadLetter
}

// Judge is the verdict about the books.
func (b Books) Judge() *Report {
	e := &evidence{
		orders: b.Orders, audit: b.Audit, gateway: b.Gateway, carrier: b.Carrier, shipments: b.Shipments, letters: b.Letters,
	}
	for _, c := range b.Cases {
		s := &sale{
			purchase: purchase{order: coordinatorapi.NewOrder{Reference: c.Reference}, never: c.Never},
			id:       c.ID, lost: c.Lost, ended: c.Ended, cancel: c.Cancel,
		}
		for _, seen := range c.Seen {
			s.see(sighting{seen.Status, seen.Revision, seen.At})
		}
		if c.History != nil {
			s.checkHistory(c.History)
		}
		e.sales = append(e.sales, s)
	}
	r := &Report{Sometimes: map[string]int{}}
	e.judge(r)
	return r
}

// Count feeds the tally with a process's metrics and returns its counts.
func Count(texts ...string) map[string]int {
	t := newTally()
	for _, text := range texts {
		t.take("one", text)
	}
	return t.all()
}

// Rarities counts what is rare in a history.
func Rarities(entries []coordinatorapi.HistoryEntry) map[string]int { return rarities(entries) }

// Missed is what a run had to meet and did not.
func (r *Report) Missed() []string { return r.missed() }
