package carriersim

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"recourse.dev/pkg/sandbox"
)

const (
	maxText     = 500
	defaultPage = 20
	maxPage     = 100
)

type createParams struct {
	Reference string  `json:"reference"`
	ToAddress Address `json:"to_address"`
	Parcel    Parcel  `json:"parcel"`
	Items     []Item  `json:"items"`
}

type buyParams struct {
	Rate struct {
		ID string `json:"id"`
	} `json:"rate"`
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/shipments", s.provider.Handle(routeCreate, s.create))
	mux.Handle("POST /v1/shipments/{id}/buy", s.provider.Handle(routeBuy, s.buy))
	mux.Handle("POST /v1/shipments/{id}/refund", s.provider.Handle(routeRefund, s.refund))
	mux.Handle("GET /v1/shipments/{id}", s.provider.Handle(routeGet, s.get))
	mux.Handle("GET /v1/shipments", s.provider.Handle(routeList, s.list))
	mux.HandleFunc("GET /labels/{name}", s.label)
	mux.HandleFunc("GET /admin/ledger", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		sandbox.Respond(w, s.book.ledger(span{only: q.Get("reference"), after: q.Get("after"), upto: q.Get("to")}))
	})
	mux.HandleFunc("GET /admin/totals", func(w http.ResponseWriter, _ *http.Request) {
		sandbox.Respond(w, s.book.totals())
	})
	s.provider.Admin(mux, s.hooks, s.log)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(notFound("route " + r.Method + " " + r.URL.Path).answer().Body)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", newID("req"))
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) create(call *sandbox.Call) sandbox.Answer {
	params := createParams{}
	if err := sandbox.DecodeStrict(call.Body, &params); err != nil {
		return badRequest("The body is not a shipment: " + err.Error()).answer()
	}
	if refusal := checkShipment(params); refusal != nil {
		return refusal.answer()
	}
	declined := strike(call, routeCreate, params.ToAddress, s.config)
	call.WaitLate()
	if declined != nil {
		return declined.answer()
	}
	now := s.now()
	shipment := Shipment{
		ID: newID("shp"), Object: "Shipment", Reference: params.Reference, Status: Unknown, CreatedAt: now, UpdatedAt: now,
		ToAddress: params.ToAddress, Parcel: params.Parcel, Items: append([]Item{}, params.Items...),
		Rates: ratesFor(params.Parcel, s.config.Currency),
	}
	return s.settle(call, routeCreate, outcome{after: &shipment}, now)
}

func (s *Server) buy(call *sandbox.Call) sandbox.Answer {
	params := buyParams{}
	if err := sandbox.DecodeStrict(call.Body, &params); err != nil {
		return badRequest(`The body wants {"rate":{"id":"..."}}: ` + err.Error()).answer()
	}
	return s.change(call, routeBuy, func(shipment Shipment, declined *Error, now time.Time) outcome {
		return shipment.buy(params.Rate.ID, declined, s.URL()+"/labels/", now)
	})
}

func (s *Server) refund(call *sandbox.Call) sandbox.Answer {
	return s.change(call, routeRefund, func(shipment Shipment, declined *Error, now time.Time) outcome {
		return shipment.refund(declined == nil, now)
	})
}

// change runs one request against one shipment. Waiting for a late effect holds no lock: meanwhile somebody else may
// change the shipment, and the late request finds what is then.
func (s *Server) change(
	call *sandbox.Call, route string, work func(Shipment, *Error, time.Time) outcome,
) sandbox.Answer {
	parcel, ok := s.book.find(call.Request.PathValue("id"))
	if !ok {
		return notFound("shipment " + call.Request.PathValue("id")).answer()
	}
	declined := strike(call, route, s.book.shipmentOf(parcel).ToAddress, s.config)
	call.WaitLate()

	parcel.working.Lock()
	defer parcel.working.Unlock()
	now := s.now()
	return s.settle(call, route, work(s.book.shipmentOf(parcel), declined, now), now)
}

// settle writes an outcome to the ledger and words its answer.
func (s *Server) settle(call *sandbox.Call, route string, out outcome, now time.Time) sandbox.Answer {
	if out.refusal != nil {
		return out.refusal.answer()
	}
	if err := s.book.commit(out, now); err != nil {
		s.log.Error("ledger is not writable", "error", err)
		return failed(http.StatusInternalServerError).answer()
	}
	if losesAnswer(route, out.after.ToAddress) {
		call.Plan.Drop = true
	}
	switch {
	case call.Plan.Fail:
		return failed(http.StatusInternalServerError).answer()
	case route == routeCreate:
		return sandbox.JSON(http.StatusCreated, out.after)
	default:
		return sandbox.JSON(http.StatusOK, out.after)
	}
}

func (s *Server) get(call *sandbox.Call) sandbox.Answer {
	parcel, ok := s.book.find(call.Request.PathValue("id"))
	if !ok {
		return notFound("shipment " + call.Request.PathValue("id")).answer()
	}
	return sandbox.JSON(http.StatusOK, s.book.shipmentOf(parcel))
}

func (s *Server) list(call *sandbox.Call) sandbox.Answer {
	query, limit := call.Request.URL.Query(), defaultPage
	for name := range query {
		// A misspelt filter that is ignored would answer with everybody's parcels.
		if !slices.Contains([]string{"reference", "page_size", "before_id"}, name) {
			return badRequest("There is no parameter " + name + ".").answer()
		}
	}
	if text := query.Get("page_size"); text != "" {
		size, err := strconv.Atoi(text)
		if err != nil || size < 1 || size > maxPage {
			return badRequest("page_size wants 1 to 100.").answer()
		}
		limit = size
	}
	shipments, more := s.book.shipments(query.Get("reference"), query.Get("before_id"), limit)
	return sandbox.JSON(http.StatusOK, map[string]any{"shipments": shipments, "has_more": more})
}

// label is the paper itself, for a person who follows the link.
func (s *Server) label(w http.ResponseWriter, r *http.Request) {
	shipment, ok := s.book.labelled(strings.TrimSuffix(r.PathValue("name"), ".txt"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	to := shipment.ToAddress
	fmt.Fprintf(w, "%s %s\n%s\n\n%s\n%s\n%s %s\n%s\n", shipment.SelectedRate.Carrier, shipment.SelectedRate.Service,
		*shipment.TrackingCode, to.Name, to.Street1, to.Zip, to.City, to.Country)
}

func newID(prefix string) string {
	return prefix + "_" + strings.ToLower(rand.Text())
}

func newTrackingCode() string {
	return "SIM" + rand.Text()[:16]
}
