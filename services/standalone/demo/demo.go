package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/standalone/audit"
)

// Options of a demo.
type Options struct {
	Orders int
	Seed   uint64
	// System is where the platform is.
	System audit.System
	// Crash kills the payment worker, waits a moment and starts it again. nil leaves it out.
	Crash func(ctx context.Context) error
	// Progress is shown about four times a second.
	Progress func(Progress)
	// Patience bounds the wait for the last order's end.
	Patience time.Duration
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
	o    Options
	shop *shop
	plan []planned
	ids  []string

	mu    sync.Mutex
	p     Progress
	ended map[string]coordinatorapi.Order
	next  int
	stop  bool
}

// Run plays the demo and reports. The error is for a platform that cannot be used at all.
func Run(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	r := &run{
		o: o, shop: newShop(o.System.Coordinator, o.System.Inventory), plan: plan(o.Orders, o.Seed, o.Run),
		ids: make([]string, o.Orders), ended: map[string]coordinatorapi.Order{},
		p: Progress{Orders: o.Orders, ByStatus: map[string]int{}},
	}
	if err := r.shop.stock(ctx, o.Run, r.plan); err != nil {
		return nil, fmt.Errorf("receiving stock: %w", err)
	}
	showing, quiet := context.WithCancel(ctx)
	defer quiet()
	go r.show(showing)
	if err := r.submit(ctx); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	r.follow(waiting)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.note("comparing the books")
	books, err := audit.Conservation(ctx, o.System)
	if err != nil {
		return nil, err
	}
	return r.report(books, time.Since(start)), nil
}

// submit posts the orders from several shops at once. Half-way the payment
// worker is killed: the orders that are in flight then must not notice.
func (r *run) submit(ctx context.Context) error {
	crashed := make(chan error, 1)
	crashed <- nil
	var once sync.Once
	errs := make([]error, 12)
	var wg sync.WaitGroup
	for k := range errs {
		wg.Go(func() {
			for i := r.take(); i >= 0 && errs[k] == nil; i = r.take() {
				errs[k] = r.place(ctx, i)
				if r.o.Crash != nil && i >= r.o.Orders/2 {
					once.Do(func() {
						<-crashed
						go func() { crashed <- r.crash(ctx) }()
					})
				}
			}
		})
	}
	wg.Wait()
	for _, err := range append(errs, <-crashed) {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) crash(ctx context.Context) error {
	r.note("the payment worker is killed (kill -9) and started again")
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
	id, err := r.shop.submit(ctx, r.plan[i])
	if err != nil {
		return fmt.Errorf("submitting order %d: %w", i+1, err)
	}
	if r.plan[i].outcome == Cancelled {
		if err := r.shop.cancel(ctx, id); err != nil {
			return fmt.Errorf("cancelling order %s: %w", id, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[i] = id
	r.p.Submitted++
	return nil
}

// follow asks for the orders that have not ended until they have, or the patience is over.
func (r *run) follow(ctx context.Context) {
	for ctx.Err() == nil {
		open := 0
		for _, id := range r.ids {
			if _, done := r.ended[id]; done {
				continue
			}
			o, err := r.shop.order(ctx, id)
			if err == nil && ended(o.Status) {
				r.mu.Lock()
				r.ended[id] = o
				r.p.Ended++
				r.p.ByStatus[string(o.Status)]++
				r.mu.Unlock()
				continue
			}
			open++
		}
		if open == 0 || wait(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
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
		if got := outcome(p, o); got == p.outcome {
			out.Outcomes[got]++
		} else {
			out.Unexpected = append(out.Unexpected, fmt.Sprintf("order %s was made to come to %s and came to %s: %s",
				r.ids[i], p.outcome, got, o.Explanation.Summary))
		}
	}
	return out
}

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
