package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/audit"
)

// Options of a demo.
type Options struct {
	Orders int
	Seed   uint64
	// System is where the platform is.
	System audit.System
	// Settled, if not nil, is closed when the books may be compared: the audit reads what services of this version show.
	Settled <-chan struct{}
	// Crash kills the payment worker, waits a moment and starts it again. nil leaves it out.
	Crash func(ctx context.Context) error
	// CrashAfter is the number of orders after which Crash is called; 0 is half of them.
	CrashAfter int
	// Progress is shown about four times a second.
	Progress func(Progress)
	// Patience bounds the wait for the last order's end.
	Patience time.Duration
	// Over spreads the submissions over this time; 0 submits as fast as the platform takes them.
	Over time.Duration
	// Bears is how long the platform may be away, as a shop sees it, before the demo gives up; for a platform whose
	// parts are killed meanwhile. 0 takes an unanswered request for a failure.
	Bears time.Duration
	// Run names this run in references and idempotency keys.
	Run string
}

// Progress is how far a demo is.
type Progress struct {
	Orders, Submitted, Ended int
	ByStatus                 map[string]int
	Note                     string
}

// Report is what a demo ends with; the counts of what must not be are zero when all is well.
type Report struct {
	Orders   int             `json:"orders"`
	Outcomes map[Outcome]int `json:"outcomes"`
	// Late orders completed because the platform was away when their cancellation or deadline was due.
	Late int `json:"late"`
	// Lost orders were accepted and are not there, or have not ended.
	Lost             int     `json:"lost"`
	Doubled          int     `json:"doubled"`
	HeldAfterUndo    int     `json:"held_after_undo"`
	StockDifferences int     `json:"stock_differences"`
	MoneyDifferences int     `json:"money_differences"`
	Seconds          float64 `json:"seconds"`
	// Unexpected orders came to another outcome than the one they were made for.
	Unexpected []string `json:"unexpected,omitempty"`
	// Findings names the order behind every difference.
	Findings []audit.Finding `json:"findings,omitempty"`

	Audit *audit.Report `json:"-"`
}

// OK says that everything adds up.
func (r *Report) OK() bool {
	return r.Lost+r.Doubled+r.HeldAfterUndo+r.StockDifferences+r.MoneyDifferences+len(r.Unexpected)+len(r.Findings) == 0
}

// run is a demo under way.
type run struct {
	start time.Time

	o    Options
	shop *shop
	plan []planned
	ids  []string

	mu    sync.Mutex
	p     Progress
	ended map[string]coordinatorapi.Order
	// agreed are the orders whose cancellation was promised.
	agreed map[string]bool
	next   int
}

// Run plays the demo and reports. The error is for a platform that cannot be used at all.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &run{
		start: time.Now(), o: o, shop: newShop(o.System.Coordinator, o.System.Inventory), plan: plan(o.Orders, o.Seed, o.Run),
		ids: make([]string, o.Orders), ended: map[string]coordinatorapi.Order{}, agreed: map[string]bool{},
		p: Progress{Orders: o.Orders, ByStatus: map[string]int{}},
	}
	r.shop.bears = o.Bears
	for i := range r.plan {
		if o.Crash == nil && r.plan[i].outcome == WorkerCrash {
			r.plan[i].outcome = Completed
		}
	}
	if err := r.shop.stock(ctx, o.Run, r.plan); err != nil {
		return nil, fmt.Errorf("receiving stock: %w", err)
	}
	showing, quiet := context.WithCancel(ctx)
	defer quiet()
	go r.show(showing)
	if err := r.submitAndFollow(ctx); err != nil {
		return nil, err
	}
	if o.Settled != nil {
		select {
		case <-o.Settled:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.note("comparing the books")
	books, err := audit.Conservation(ctx, o.System)
	if err != nil {
		return nil, err
	}
	return r.report(books, time.Since(r.start)), nil
}

// submitAndFollow returns when every order has ended, or the patience after the last submission is over.
func (r *run) submitAndFollow(ctx context.Context) error {
	following, cancel := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		r.follow(following)
	}()
	err := r.submit(ctx)
	if err == nil {
		select {
		case <-followed:
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(r.o.Patience):
		}
	}
	cancel()
	<-followed
	return err
}

// submit posts the orders from several shops at once. On the way the payment
// worker is killed: the orders that are in flight then must not notice.
func (r *run) submit(ctx context.Context) error {
	const shops = 12
	errs := make([]error, shops+1) // the last one is the crash's
	var once sync.Once
	var wg sync.WaitGroup
	for k := range shops {
		wg.Go(func() {
			for i := r.take(); i >= 0 && errs[k] == nil; i = r.take() {
				errs[k] = r.place(ctx, i)
				if r.o.Crash != nil && i >= cmp.Or(r.o.CrashAfter, r.o.Orders/2) {
					once.Do(func() { wg.Go(func() { errs[shops] = r.crash(ctx) }) })
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *run) crash(ctx context.Context) error {
	r.note("a worker is killed (kill -9) and started again")
	err := r.o.Crash(ctx)
	r.note("")
	return err
}

func (r *run) take() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next >= len(r.plan) {
		return -1
	}
	r.next++
	return r.next - 1
}

func (r *run) place(ctx context.Context, i int) error {
	if err := wait(ctx, time.Until(r.start.Add(r.o.Over*time.Duration(i)/time.Duration(len(r.plan))))); err != nil {
		return err
	}
	id, err := r.shop.submit(ctx, r.plan[i])
	if err != nil {
		return fmt.Errorf("submitting order %d: %w", i+1, err)
	}
	if r.plan[i].outcome == Cancelled {
		agreed, err := r.shop.cancel(ctx, id)
		if err != nil {
			return fmt.Errorf("cancelling order %s: %w", id, err)
		}
		r.mu.Lock()
		r.agreed[id] = agreed
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[i] = id
	r.p.Submitted++
	return nil
}

// follow asks for the orders that have not ended until all have.
func (r *run) follow(ctx context.Context) {
	for {
		all := r.submitted() == len(r.plan) // asked first: what is open then is all there will be
		open := r.open()
		if all && len(open) == 0 {
			return
		}
		for _, id := range open {
			o, err := r.shop.order(ctx, id)
			if err != nil || !ended(o.Status) {
				continue // it is asked for again
			}
			r.mu.Lock()
			r.ended[id] = o
			r.p.Ended++
			r.p.ByStatus[string(o.Status)]++
			r.mu.Unlock()
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

// open lists the orders that were accepted and are not known to have ended.
func (r *run) open() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, id := range r.ids {
		if _, done := r.ended[id]; id != "" && !done {
			out = append(out, id)
		}
	}
	return out
}

func (r *run) submitted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.p.Submitted
}

// ended: the customer has the last word. The saga may still be busy with an optional step, such as the mail.
func ended(s coordinatorapi.OrderStatus) bool {
	return s == coordinatorapi.OrderStatusCompleted || s == coordinatorapi.OrderStatusCancelled || s == coordinatorapi.OrderStatusClosed
}

func (r *run) show(ctx context.Context) {
	if r.o.Progress == nil {
		return
	}
	for wait(ctx, 250*time.Millisecond) == nil {
		r.mu.Lock()
		p := r.p
		p.ByStatus = map[string]int{}
		for k, v := range r.p.ByStatus {
			p.ByStatus[k] = v
		}
		r.mu.Unlock()
		r.o.Progress(p)
	}
}

func (r *run) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.p.Note = text
}

func (r *run) report(books *audit.Report, took time.Duration) *Report {
	out := &Report{
		Orders: r.o.Orders, Outcomes: map[Outcome]int{}, Seconds: took.Seconds(), Audit: books, Findings: books.Findings(),
		Doubled: len(books.Doubled), HeldAfterUndo: len(books.HeldAfterUndo),
		StockDifferences: len(books.Stock), MoneyDifferences: len(books.Money),
	}
	for i, p := range r.plan {
		o, ok := r.ended[r.ids[i]]
		if !ok {
			out.Lost++
			continue
		}
		switch got := outcome(p, o); {
		case got == p.outcome:
			out.Outcomes[got]++
		case got == Completed && p.timed() && r.shop.missed.Load() > 0 && !r.agreed[r.ids[i]]:
			out.Late++
		default:
			out.Unexpected = append(out.Unexpected, fmt.Sprintf("order %s was made to come to %s and came to %s: %s",
				r.ids[i], p.outcome, got, o.Explanation.Summary))
		}
	}
	return out
}

// timed orders come to their outcome only if something happens in time: who is away then may miss it.
func (p planned) timed() bool { return p.outcome == Cancelled || p.outcome == Deadline }

// outcome is what the order came to, by its public status and cause alone.
func outcome(p planned, o coordinatorapi.Order) Outcome {
	if o.Status == coordinatorapi.OrderStatusCompleted {
		if p.outcome == AnswerLost || p.outcome == WorkerCrash {
			return p.outcome
		}
		return Completed
	}
	if o.Status != coordinatorapi.OrderStatusCancelled || o.Cause == nil {
		return Outcome(o.Status)
	}
	detail := ""
	if o.Cause.Detail != nil {
		detail = *o.Cause.Detail
	}
	switch {
	case o.Cause.Kind == "cancelled":
		return Cancelled
	case o.Cause.Kind == "deadline":
		return Deadline
	case detail == "out_of_stock":
		return OutOfStock
	case detail == "card_declined" || detail == "insufficient_funds":
		return Declined
	case detail == "address_not_served":
		return CarrierRefusal
	}
	return Outcome(string(o.Cause.Kind) + " " + detail)
}
