package shipping_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/shipping"
)

// fault is what goes wrong with a request.
type fault string

const (
	dropBefore fault = "drop_before" // close the connection, nothing is done
	dropAfter  fault = "drop_after"  // do it, close the connection
	status500  fault = "status_500"  // do it, answer 500
	status503  fault = "status_503"  // answer 503, nothing is done
	late       fault = "late"        // do it only when the test releases it
	reject     fault = "reject"      // refuse it
	lag        fault = "lag"         // list nothing, as if nothing had been booked yet
)

// fakeCarrier is a carrier for tests, with the API and the faults that the carrier simulator documents.
type fakeCarrier struct {
	server *httptest.Server
	// release lets late requests go on.
	release chan struct{}
	// lateRan receives one value for each late request that has been carried out.
	lateRan chan struct{}
	// over is closed when the test is, so that one that failed does not wait for late requests.
	over chan struct{}

	mu        sync.Mutex
	shipments []*fakeShipment
	faults    map[string][]fault
	outage    bool
	requests  map[string]int
}

type fakeShipment struct {
	ID, Reference string
	Tracking      string
	Refund        string
}

func newFakeCarrier(t *testing.T) *fakeCarrier {
	t.Helper()
	f := &fakeCarrier{
		release: make(chan struct{}), lateRan: make(chan struct{}, 10), over: make(chan struct{}),
		faults: make(map[string][]fault), requests: make(map[string]int),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/shipments", f.route("create", f.create))
	mux.HandleFunc("GET /v1/shipments", f.route("list", f.list))
	mux.HandleFunc("GET /v1/shipments/{id}", f.route("get", f.get))
	mux.HandleFunc("POST /v1/shipments/{id}/buy", f.route("buy", f.buy))
	mux.HandleFunc("POST /v1/shipments/{id}/refund", f.route("refund", f.refund))
	f.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(f.over)
		f.server.Close()
	})
	return f
}

// carrier is the adapter under test, pointed at the fake.
func (f *fakeCarrier) carrier(t *testing.T, timeout time.Duration) *shipping.HTTPCarrier {
	t.Helper()
	c, err := shipping.NewHTTPCarrier(f.server.URL, "key", timeout, 64)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// fail lets the next requests of a route go wrong, one after the other.
func (f *fakeCarrier) fail(route string, faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[route] = append(f.faults[route], faults...)
}

func (f *fakeCarrier) setOutage(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outage = on
}

// labels counts what the carrier has sold and taken back.
func (f *fakeCarrier) labels() (bought, refunded int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.shipments {
		if s.Tracking != "" {
			bought++
		}
		if s.Refund == "refunded" {
			refunded++
		}
	}
	return bought, refunded
}

func (f *fakeCarrier) live() int {
	bought, refunded := f.labels()
	return bought - refunded
}

func (f *fakeCarrier) bookings() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.shipments)
}

func (f *fakeCarrier) asked(route string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[route]
}

type reply struct {
	status int
	body   any
}

func (f *fakeCarrier) route(name string, do func(r *http.Request, decline bool) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, _, ok := r.BasicAuth()
		if !ok || user != "key" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		f.mu.Lock()
		f.requests[name]++
		var fault fault
		if left := f.faults[name]; len(left) > 0 {
			fault, f.faults[name] = left[0], left[1:]
		}
		outage := f.outage
		f.mu.Unlock()
		switch {
		case outage || fault == dropBefore:
			panic(http.ErrAbortHandler)
		case fault == status503:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case fault == lag:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"shipments": [], "has_more": false}`))
			return
		case fault == late:
			defer func() { f.lateRan <- struct{}{} }()
			select {
			case <-f.release:
			case <-f.over:
			}
		}
		f.mu.Lock()
		answer := do(r, fault == reject)
		f.mu.Unlock()
		switch fault {
		case dropAfter:
			panic(http.ErrAbortHandler)
		case status500:
			answer = failure(http.StatusInternalServerError, "internal_error")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.status)
		_ = json.NewEncoder(w).Encode(answer.body)
	}
}

func failure(status int, code string) reply {
	return reply{status, map[string]any{"error": map[string]any{
		"code": code, "message": "because of " + code,
		"errors": []map[string]string{{"field": "to_address.zip", "message": "look here"}},
	}}}
}

func (f *fakeCarrier) create(r *http.Request, decline bool) reply {
	var in struct {
		Reference string `json:"reference"`
		ToAddress struct {
			Name, Street1, Street2, City, State, Zip, Country, Phone, Email string
		} `json:"to_address"`
		Parcel struct{ Weight float64 }
		Items  []struct {
			SKU      string
			Quantity int64
		}
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return failure(http.StatusBadRequest, "bad_request")
	}
	a := in.ToAddress
	if slices.Contains([]string{in.Reference, a.Name, a.Street1, a.City, a.Zip, a.Country}, "") || in.Parcel.Weight <= 0 {
		return failure(http.StatusUnprocessableEntity, "invalid_params")
	}
	switch {
	case a.Country == "AQ" || decline:
		return failure(http.StatusUnprocessableEntity, "address_not_served")
	case a.Zip == "00000":
		return failure(http.StatusUnprocessableEntity, "address_invalid")
	case in.Parcel.Weight > 1120:
		return failure(http.StatusUnprocessableEntity, "weight_limit")
	}
	s := &fakeShipment{ID: fmt.Sprintf("shp_%d", len(f.shipments)+1), Reference: in.Reference}
	f.shipments = append(f.shipments, s)
	return reply{http.StatusCreated, s.wire()}
}

func (s *fakeShipment) wire() map[string]any {
	rate := map[string]any{"id": "rate_" + s.ID, "carrier": "Simpost", "rate": "4.90", "currency": "EUR"}
	out := map[string]any{
		"id": s.ID, "reference": s.Reference, "rates": []any{rate}, "selected_rate": nil, "postage_label": nil,
		"tracking_code": nil, "refund_status": nil,
	}
	if s.Tracking != "" {
		out["selected_rate"], out["tracking_code"] = rate, s.Tracking
		out["postage_label"] = map[string]any{"id": "pl_" + s.ID, "label_url": "http://127.0.0.1/labels/1"}
	}
	if s.Refund != "" {
		out["refund_status"] = s.Refund
	}
	return out
}

func (f *fakeCarrier) list(r *http.Request, _ bool) reply {
	found := []any{}
	for _, s := range slices.Backward(f.shipments) {
		if s.Reference == r.URL.Query().Get("reference") {
			found = append(found, s.wire())
		}
	}
	return reply{http.StatusOK, map[string]any{"shipments": found, "has_more": false}}
}

func (f *fakeCarrier) find(r *http.Request) *fakeShipment {
	for _, s := range f.shipments {
		if s.ID == r.PathValue("id") {
			return s
		}
	}
	return nil
}

func (f *fakeCarrier) get(r *http.Request, _ bool) reply {
	s := f.find(r)
	if s == nil {
		return failure(http.StatusNotFound, "not_found")
	}
	return reply{http.StatusOK, s.wire()}
}

func (f *fakeCarrier) buy(r *http.Request, decline bool) reply {
	var in struct {
		Rate struct {
			ID string `json:"id"`
		} `json:"rate"`
	}
	s := f.find(r)
	switch err := json.NewDecoder(r.Body).Decode(&in); {
	case err != nil:
		return failure(http.StatusBadRequest, "bad_request")
	case s == nil:
		return failure(http.StatusNotFound, "not_found")
	case in.Rate.ID != "rate_"+s.ID:
		return failure(http.StatusUnprocessableEntity, "rate_not_found")
	case s.Tracking != "":
		return failure(http.StatusUnprocessableEntity, "shipment_already_bought")
	case decline:
		return failure(http.StatusUnprocessableEntity, "address_not_served")
	}
	s.Tracking = "SIM" + strings.TrimPrefix(s.ID, "shp_")
	return reply{http.StatusOK, s.wire()}
}

func (f *fakeCarrier) refund(r *http.Request, decline bool) reply {
	s := f.find(r)
	switch {
	case s == nil:
		return failure(http.StatusNotFound, "not_found")
	case s.Tracking == "":
		return failure(http.StatusUnprocessableEntity, "shipment_not_bought")
	case s.Refund == "refunded":
		return failure(http.StatusUnprocessableEntity, "refund_not_allowed")
	}
	if s.Refund = "refunded"; decline {
		s.Refund = "rejected"
	}
	return reply{http.StatusOK, s.wire()}
}
