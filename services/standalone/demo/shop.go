package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// shop talks to the platform over REST.
type shop struct {
	coordinator, inventory string
	client                 *http.Client
}

func newShop(coordinator, inventory string) *shop {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // the standard library's own
	transport.MaxIdleConnsPerHost = 64
	return &shop{coordinator, inventory, &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// stock makes sure that the goods of the plan are there. Repeating it does nothing.
func (s *shop) stock(ctx context.Context, run string, plan []planned) error {
	need := map[string]int64{}
	for _, p := range plan {
		for _, l := range p.order.Lines {
			if l.Sku != rareSKU {
				need[l.Sku] += l.Quantity
			}
		}
	}
	need[rareSKU] = rareStock
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
	if need[rareSKU] > 0 {
		return s.post(ctx, s.inventory+"/v1/stock/receive", "demo-"+run, inventoryapi.Receipt{Lines: lines}, nil)
	}
	return nil
}

// submit repeats until the order is accepted: with one Idempotency-Key that is safe.
func (s *shop) submit(ctx context.Context, p planned) (id string, err error) {
	var receipt coordinatorapi.OrderReceipt
	if err := s.post(ctx, s.coordinator+"/v1/orders", p.key, p.order, &receipt); err != nil {
		return "", err
	}
	return receipt.ID.String(), nil
}

func (s *shop) cancel(ctx context.Context, id string) error {
	return s.post(ctx, s.coordinator+"/v1/orders/"+id+"/cancel", "", coordinatorapi.CancelRequest{Reason: ptr("changed my mind")}, nil)
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
	for {
		err = s.call(ctx, http.MethodPost, where, key, data, into)
		if again, ok := err.(*busyError); !ok { //nolint:errorlint // made by call, never wrapped
			return err
		} else if wait(ctx, again.after) != nil {
			return err
		}
	}
}

// busyError says that the platform asked to come back.
type busyError struct {
	after time.Duration
	text  string
}

func (e *busyError) Error() string { return e.text }

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
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, where, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, where, err)
	}
	if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
		after, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s") // zero if absent
		return &busyError{max(after, 100*time.Millisecond), fmt.Sprintf("%s %s: %s: %s", method, where, resp.Status, data)}
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, where, resp.Status, data)
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
