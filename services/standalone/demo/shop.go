package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// shop talks to the platform over REST.
type shop struct {
	coordinator, inventory string
	client                 *http.Client
	// bears is how long a platform may be away or busy before a request is given up; 0 is for ever busy, never away.
	bears time.Duration
	// missed counts the requests that found it away or busy.
	missed atomic.Int64
}

func newShop(coordinator, inventory string) *shop {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return &shop{
		coordinator: coordinator, inventory: inventory,
		client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
	}
}

// stock makes sure that the goods of the plan are there. Repeating it does nothing.
func (s *shop) stock(ctx context.Context, run string, plan []planned) error {
	need := map[string]int64{}
	for _, p := range plan {
		for _, l := range p.order.Lines {
			if l.Sku != rareOf(run) {
				need[l.Sku] += l.Quantity
			}
		}
	}
	need[rareOf(run)] = rareStock
	if err := s.post(ctx, s.inventory+"/v1/locations", "", inventoryapi.NewLocation{Code: location, Country: "DE"}, nil); err != nil {
		return err
	}
	lines := make([]inventoryapi.ReceiptLine, 0, len(need))
	for sku, quantity := range need {
		if err := s.post(ctx, s.inventory+"/v1/items", "", inventoryapi.NewItem{Sku: sku}, nil); err != nil {
			return err
		}
		lines = append(lines, inventoryapi.ReceiptLine{Sku: sku, Location: location, Quantity: quantity})
	}
	return s.post(ctx, s.inventory+"/v1/stock/receive", "demo-"+run, inventoryapi.Receipt{Lines: lines}, nil)
}

// submit repeats until the order is accepted: with one Idempotency-Key that is safe.
func (s *shop) submit(ctx context.Context, p planned) (id string, err error) {
	var receipt coordinatorapi.OrderReceipt
	if err := s.post(ctx, s.coordinator+"/v1/orders", p.key, p.order, &receipt); err != nil {
		return "", err
	}
	return receipt.ID.String(), nil
}

// cancel asks for a cancellation; agreed says that the platform promised it.
func (s *shop) cancel(ctx context.Context, id string) (agreed bool, err error) {
	var answer coordinatorapi.CancelAnswer
	err = s.post(ctx, s.coordinator+"/v1/orders/"+id+"/cancel", "cancel-"+id,
		coordinatorapi.CancelRequest{Reason: ptr("changed my mind")}, &answer)
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusConflict {
		return false, nil // too late: it is paid for
	}
	return answer.Answer == coordinatorapi.CancelAnswerAnswerAgreed, err
}

func (s *shop) order(ctx context.Context, id string) (coordinatorapi.Order, error) {
	var o coordinatorapi.Order
	err := s.call(ctx, http.MethodGet, s.coordinator+"/v1/orders/"+id, "", nil, &o)
	return o, err
}

func (s *shop) post(ctx context.Context, where, key string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	begin := time.Now()
	for {
		err = s.call(ctx, http.MethodPost, where, key, data, into)
		again, ok := err.(*awayError) //nolint:errorlint // made by call, never wrapped
		if !ok {
			return err
		}
		givenUp := s.bears > 0 && time.Since(begin) > s.bears
		if givenUp || (again.silent && s.bears == 0) || wait(ctx, again.after) != nil {
			return err
		}
	}
}

// awayError says that the platform asked to come back, or that nothing answered. Every request of the shop may be
// repeated: those that do something carry an Idempotency-Key or name what they make.
type awayError struct {
	after  time.Duration
	silent bool
	err    error
}

func (e *awayError) Error() string { return e.err.Error() }
func (e *awayError) Unwrap() error { return e.err }

// refusedError is an answer that a repetition would not change.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return e.text }

func (s *shop) call(ctx context.Context, method, where, key string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", `"`+key+`"`)
	}
	away := func(after time.Duration, silent bool, err error) error {
		s.missed.Add(1)
		return &awayError{max(after, 100*time.Millisecond), silent, fmt.Errorf("%s %s: %w", method, where, err)}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return away(0, true, err)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return away(0, true, err)
	}
	if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
		after, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s") // zero if absent
		return away(after, false, fmt.Errorf("%s: %s", resp.Status, data))
	}
	if resp.StatusCode >= 300 {
		return &refusedError{resp.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, where, resp.Status, data)}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, where, err)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// StockShelves gives a new platform something to sell: 1,000 of each item of
// the demo's catalogue. Doing it again does nothing.
func StockShelves(ctx context.Context, inventory string) error {
	s := newShop("", inventory)
	if err := s.post(ctx, s.inventory+"/v1/locations", "", inventoryapi.NewLocation{Code: location, Country: "DE"}, nil); err != nil {
		return fmt.Errorf("stocking the shelves: %w", err)
	}
	var lines []inventoryapi.ReceiptLine
	for _, sku := range catalogue {
		if err := s.post(ctx, s.inventory+"/v1/items", "", inventoryapi.NewItem{Sku: sku}, nil); err != nil {
			return fmt.Errorf("stocking the shelves: %w", err)
		}
		lines = append(lines, inventoryapi.ReceiptLine{Sku: sku, Location: location, Quantity: 1000})
	}
	if err := s.post(ctx, s.inventory+"/v1/stock/receive", "shelves", inventoryapi.Receipt{Lines: lines}, nil); err != nil {
		return fmt.Errorf("stocking the shelves: %w", err)
	}
	return nil
}
