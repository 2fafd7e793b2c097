package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// Shop places orders over connections that are kept.
type Shop struct {
	coordinator, inventory string
	client                 *http.Client
}

// NewShop makes one with at most so many connections.
func NewShop(coordinator, inventory string, connections int) *Shop {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.MaxConnsPerHost = 0, connections, connections
	transport.DisableCompression = true
	return &Shop{
		coordinator: coordinator, inventory: inventory,
		client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
	}
}

// Close gives the connections up.
func (s *Shop) Close() { s.client.CloseIdleConnections() }

// NewOrder is an order of one line for one customer of a made-up shop.
func NewOrder(reference, sku, token string) coordinatorapi.NewOrder {
	email, postcode := "ada@example.com", "10117"
	return coordinatorapi.NewOrder{
		Shop: "load", CustomerID: "cus_1", Reference: reference, Currency: "EUR", PaymentToken: token, TotalMinor: 1250,
		Lines: []coordinatorapi.OrderLine{{Sku: sku, Quantity: 1, UnitPriceMinor: 1250}},
		ShipTo: coordinatorapi.Address{
			Name: "Ada Lovelace", Lines: []string{"Unter den Linden 1"}, City: "Berlin", PostalCode: &postcode, Country: "DE",
			Email: &email,
		},
	}
}

// Submit places an order under its reference as key. The id is that of an accepted one; after says when a refused one
// is asked to come back.
func (s *Shop) Submit(ctx context.Context, o coordinatorapi.NewOrder) (id uuid.UUID, outcome Outcome, after time.Duration) {
	status, header, body, err := s.post(ctx, s.coordinator+"/v1/orders", o.Reference, o)
	if err != nil {
		return uuid.Nil, Failed, 0
	}
	switch status {
	case http.StatusOK, http.StatusAccepted:
		var receipt coordinatorapi.OrderReceipt
		if err := json.Unmarshal(body, &receipt); err != nil {
			return uuid.Nil, Failed, 0
		}
		return receipt.ID, Accepted, 0
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		after, err := time.ParseDuration(header.Get("Retry-After") + "s")
		if err != nil || status == http.StatusServiceUnavailable {
			return uuid.Nil, Unavailable, after
		}
		return uuid.Nil, Refused, after
	}
	return uuid.Nil, Failed, 0
}

// Cancel asks for a cancellation and says whether it was promised.
func (s *Shop) Cancel(ctx context.Context, id uuid.UUID) bool {
	status, _, body, err := s.post(ctx, s.coordinator+"/v1/orders/"+id.String()+"/cancel", "cancel-"+id.String(),
		coordinatorapi.CancelRequest{})
	var answer coordinatorapi.CancelAnswer
	return err == nil && status == http.StatusAccepted && json.Unmarshal(body, &answer) == nil &&
		answer.Answer == coordinatorapi.CancelAnswerAnswerAgreed
}

// Order reads an order.
func (s *Shop) Order(ctx context.Context, id uuid.UUID) (o coordinatorapi.Order, err error) {
	status, _, body, err := s.call(ctx, http.MethodGet, s.coordinator+"/v1/orders/"+id.String(), "", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	if err != nil {
		return o, fmt.Errorf("reading order %s: %w", id, err)
	}
	return o, nil
}

// Stock puts a million of each SKU on a shelf. Doing it again under the same key does nothing.
func (s *Shop) Stock(ctx context.Context, key string, skus ...string) error {
	const location = "LOAD-1"
	must := func(path, key string, body any) error {
		status, _, answer, err := s.post(ctx, s.inventory+path, key, body)
		if err == nil && status >= http.StatusMultipleChoices {
			err = fmt.Errorf("POST %s: status %d: %s", path, status, answer)
		}
		return err
	}
	if err := must("/v1/locations", "", inventoryapi.NewLocation{Code: location, Country: "DE"}); err != nil {
		return fmt.Errorf("receiving stock: %w", err)
	}
	lines := make([]inventoryapi.ReceiptLine, 0, len(skus))
	for _, sku := range skus {
		if err := must("/v1/items", "", inventoryapi.NewItem{Sku: sku}); err != nil {
			return fmt.Errorf("receiving stock: %w", err)
		}
		lines = append(lines, inventoryapi.ReceiptLine{Sku: sku, Location: location, Quantity: 1_000_000})
	}
	if err := must("/v1/stock/receive", key, inventoryapi.Receipt{Lines: lines}); err != nil {
		return fmt.Errorf("receiving stock: %w", err)
	}
	return nil
}

func (s *Shop) post(ctx context.Context, url, key string, body any) (int, http.Header, []byte, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("encoding a request: %w", err)
	}
	return s.call(ctx, http.MethodPost, url, key, data)
}

func (s *Shop) call(ctx context.Context, method, url, key string, data []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		return 0, nil, nil, err
	}
	if data != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // to the end, so that the connection is kept
	return resp.StatusCode, resp.Header, answer, errors.Join(err, resp.Body.Close())
}
