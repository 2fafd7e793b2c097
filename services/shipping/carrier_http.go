package shipping

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/money"
)

// HTTPCarrier speaks the subset of EasyPost's shipment API that is needed to buy and refund a label.
//
// What counts as proof, and what does not: a 2xx answer with the object in it, or a 422 whose code says that the
// request was understood and refused. Everything else - no answer, half an answer, 5xx, 429, wrong credentials - leaves
// the outcome unknown: the request may have been carried out, or will be once somebody has mended the configuration.
type HTTPCarrier struct {
	base      *url.URL
	apiKey    string
	transport *http.Transport
	client    *http.Client
}

// maxAnswer bounds what is read of an answer; a shipment is about 2 KiB.
const maxAnswer = 1 << 20

// NewHTTPCarrier checks the base URL. Timeout bounds one request; conns is how many connections stay open between them.
func NewHTTPCarrier(base, apiKey string, timeout time.Duration, conns int) (*HTTPCarrier, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("carrier URL %q is not an http or https URL; set CARRIER_URL, for example "+
			"http://127.0.0.1:8091", base)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // as documented
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = conns, conns
	return &HTTPCarrier{
		base:      u,
		apiKey:    apiKey,
		transport: transport,
		client: &http.Client{
			Timeout:   timeout,
			Transport: httpserver.Traced(transport),
			// A redirect would repeat a purchase somewhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Name is the host that holds the bookings.
func (c *HTTPCarrier) Name() string { return c.base.Host }

// Close drops the connections that are kept open between requests.
func (c *HTTPCarrier) Close() { c.transport.CloseIdleConnections() }

type wireAddress struct {
	Name    string `json:"name"`
	Street1 string `json:"street1"`
	Street2 string `json:"street2,omitempty"`
	City    string `json:"city"`
	State   string `json:"state,omitempty"`
	Zip     string `json:"zip"`
	Country string `json:"country"`
	Phone   string `json:"phone,omitempty"`
	Email   string `json:"email,omitempty"`
}

type wireItem struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

type wireParcel struct {
	Weight float64 `json:"weight"`
}

type wireCreate struct {
	Reference string      `json:"reference"`
	ToAddress wireAddress `json:"to_address"`
	Parcel    wireParcel  `json:"parcel"`
	Items     []wireItem  `json:"items"`
}

type wireRate struct {
	ID       string `json:"id"`
	Carrier  string `json:"carrier,omitempty"`
	Rate     string `json:"rate,omitempty"`
	Currency string `json:"currency,omitempty"`
}

type wireBuy struct {
	Rate wireRate `json:"rate"`
}

type wireShipment struct {
	ID           string     `json:"id"`
	Reference    string     `json:"reference"`
	Rates        []wireRate `json:"rates"`
	SelectedRate *wireRate  `json:"selected_rate"`
	PostageLabel *struct {
		ID string `json:"id"`
	} `json:"postage_label"`
	TrackingCode *string `json:"tracking_code"`
	RefundStatus *string `json:"refund_status"`
}

type wireList struct {
	Shipments []wireShipment `json:"shipments"`
}

type wireError struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Errors  []struct {
			Field   string `json:"field"`
			Message string `json:"message"`
		} `json:"errors"`
	} `json:"error"`
}

func (e wireError) detail() string {
	text := e.Error.Message
	for _, f := range e.Error.Errors {
		text += "; " + f.Field + ": " + f.Message
	}
	return text
}

// Create makes a booking; it is free.
func (c *HTTPCarrier) Create(ctx context.Context, p Parcel) Outcome {
	items := make([]wireItem, len(p.Items))
	for i, it := range p.Items {
		items[i] = wireItem{SKU: it.SKU, Quantity: it.Quantity}
	}
	return c.shipment(ctx, http.MethodPost, "/v1/shipments", wireCreate{
		Reference: p.Reference,
		ToAddress: wireAddress{
			Name: p.Name, Street1: p.Street1, Street2: p.Street2, City: p.City, State: p.Region, Zip: p.Zip,
			Country: p.Country, Phone: p.Phone, Email: p.Email,
		},
		Parcel: wireParcel{Weight: weightOunces(p.WeightG)},
		Items:  items,
	})
}

// Find reads the bookings under our reference. The list comes newest first.
func (c *HTTPCarrier) Find(ctx context.Context, reference string) Outcome {
	status, body, unknown := c.ask(ctx, http.MethodGet, "/v1/shipments", url.Values{"reference": {reference}}, nil)
	if unknown != nil {
		return *unknown
	}
	if status != http.StatusOK {
		return onlyRead(unexpected(status, body))
	}
	var list wireList
	if err := json.Unmarshal(body, &list); err != nil {
		return Unknown{Detail: "the list of shipments is no JSON: " + err.Error()}
	}
	var chosen *wireShipment
	for i := range list.Shipments {
		s := &list.Shipments[i]
		if s.Reference != reference {
			return Unknown{Detail: fmt.Sprintf("asked for reference %s, got %s", reference, s.Reference)}
		}
		chosen = s
		if s.bought() {
			break
		}
	}
	if chosen == nil {
		return NotFound{}
	}
	return chosen.outcome()
}

// Get reads one booking.
func (c *HTTPCarrier) Get(ctx context.Context, ref string) Outcome {
	return onlyRead(c.shipment(ctx, http.MethodGet, "/v1/shipments/"+url.PathEscape(ref), nil))
}

// onlyRead keeps a refused question from looking like a refused label.
func onlyRead(o Outcome) Outcome {
	if r, refused := o.(Refused); refused {
		return Unknown{Detail: r.Detail}
	}
	return o
}

// Buy buys the cheapest label. The carrier refuses a second one for the same booking, so that refusal is the proof of
// the first, and it is read.
func (c *HTTPCarrier) Buy(ctx context.Context, b Booking) Outcome {
	if b.RateID == "" {
		return Refused{Class: Declined, Code: CodeCarrierRefused, Detail: "the carrier offers no rate for " + b.Ref}
	}
	path := "/v1/shipments/" + url.PathEscape(b.Ref) + "/buy"
	answer := c.shipment(ctx, http.MethodPost, path, wireBuy{Rate: wireRate{ID: b.RateID}})
	switch a := answer.(type) {
	case Refused:
		if a.Code == "shipment_already_bought" {
			answer = c.Get(ctx, b.Ref)
		}
	case Succeeded, Unknown, NotFound:
	}
	switch a := answer.(type) {
	case Succeeded:
		if a.Booking.Label == nil {
			return Unknown{Detail: "the carrier says that " + b.Ref + " is bought and shows no label"}
		}
	case NotFound:
		return Unknown{Detail: "the carrier does not know " + b.Ref}
	case Refused, Unknown:
	}
	return answer
}

// Void refunds the label. A second refund is refused, so that refusal leads to reading what became of the first.
func (c *HTTPCarrier) Void(ctx context.Context, ref string) Outcome {
	answer := c.shipment(ctx, http.MethodPost, "/v1/shipments/"+url.PathEscape(ref)+"/refund", nil)
	switch a := answer.(type) {
	case Refused:
		if a.Code != "refund_not_allowed" {
			return a
		}
		answer = c.Get(ctx, ref)
	case Succeeded, Unknown, NotFound:
	}
	return voidOutcome(answer, ref)
}

// voidOutcome reads what a booking says about its refund.
func voidOutcome(answer Outcome, ref string) Outcome {
	s, ok := answer.(Succeeded)
	if !ok {
		if _, missing := answer.(NotFound); missing {
			return Unknown{Detail: "the carrier does not know " + ref}
		}
		return answer
	}
	switch s.Booking.Void {
	case VoidRefunded:
		return s
	case VoidRejected:
		return Refused{Class: WrongState, Code: CodeVoidRejected, Detail: "the carrier rejected the refund of " + ref}
	case VoidSubmitted:
		return Unknown{Detail: "the carrier has taken the refund of " + ref + " and not settled it yet"}
	case VoidNotAsked:
	}
	return Unknown{Detail: "the carrier shows no refund of " + ref}
}

// shipment asks for something that is answered with a shipment.
func (c *HTTPCarrier) shipment(ctx context.Context, method, path string, in any) Outcome {
	status, body, unknown := c.ask(ctx, method, path, nil, in)
	if unknown != nil {
		return *unknown
	}
	switch status {
	case http.StatusOK, http.StatusCreated:
		var s wireShipment
		if err := json.Unmarshal(body, &s); err != nil || s.ID == "" {
			return Unknown{Detail: fmt.Sprintf("HTTP %d without a shipment in it: %v", status, err)}
		}
		return s.outcome()
	case http.StatusNotFound:
		return NotFound{}
	}
	return unexpected(status, body)
}

// ask sends one request and reads the answer to its end. It says Unknown when there is none.
func (c *HTTPCarrier) ask(ctx context.Context, method, path string, query url.Values, in any) (int, []byte, *Unknown) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, nil, &Unknown{NotSent: true, Detail: "encoding the request: " + err.Error()}
		}
		body = bytes.NewReader(text)
	}
	target := *c.base
	target.Path = strings.TrimSuffix(target.Path, "/") + path
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return 0, nil, &Unknown{NotSent: true, Detail: "making the request: " + err.Error()}
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.apiKey != "" {
		req.SetBasicAuth(c.apiKey, "")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, &Unknown{NotSent: notSent(err), Detail: err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, &Unknown{Detail: fmt.Sprintf("HTTP %d, reading the answer: %v", resp.StatusCode, err)}
	}
	return resp.StatusCode, text, nil
}

// notSent is true when not even a connection came about.
func notSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// refusals are the codes that say no for good. A code that is not here leaves the outcome unknown.
var refusals = map[string]Refused{
	"address_not_served":      {Class: Declined, Code: CodeAddressNotServed},
	"address_invalid":         {Class: Declined, Code: CodeAddressInvalid},
	"weight_limit":            {Class: Declined, Code: CodeWeightLimit},
	"invalid_params":          {Class: Invalid, Code: CodeCarrierRefused},
	"rate_not_found":          {Class: Invalid, Code: CodeCarrierRefused},
	"shipment_already_bought": {Class: WrongState, Code: "shipment_already_bought"},
	"shipment_not_bought":     {Class: WrongState, Code: CodeCarrierRefused},
	"refund_not_allowed":      {Class: WrongState, Code: "refund_not_allowed"},
}

// unexpected reads an answer that is not what was asked for.
func unexpected(status int, body []byte) Outcome {
	var e wireError
	if err := json.Unmarshal(body, &e); err != nil {
		return Unknown{Detail: fmt.Sprintf("HTTP %d: %.200q", status, body)}
	}
	detail := plainText(fmt.Sprintf("HTTP %d %s: %.500s", status, e.Error.Code, e.detail()))
	if refused, ok := refusals[e.Error.Code]; ok && status == http.StatusUnprocessableEntity {
		refused.Detail = detail
		return refused
	}
	return Unknown{Detail: detail}
}

func (s *wireShipment) bought() bool {
	return s.PostageLabel != nil && s.TrackingCode != nil && *s.TrackingCode != ""
}

// outcome is the shipment as a booking. What cannot be read is unknown: a label whose price makes no sense is still a
// label.
func (s *wireShipment) outcome() Outcome {
	if plainText(s.ID) != s.ID {
		return Unknown{Detail: fmt.Sprintf("the carrier's name of the shipment, %.100q, is none that can be kept", s.ID)}
	}
	b := Booking{Ref: s.ID}
	if len(s.Rates) > 0 {
		b.RateID = s.Rates[0].ID
	}
	if s.RefundStatus != nil {
		switch v := VoidState(*s.RefundStatus); v {
		case VoidSubmitted, VoidRefunded, VoidRejected:
			b.Void = v
		case VoidNotAsked:
		default:
			return Unknown{Detail: fmt.Sprintf("refund_status %q of %s has no meaning here", v, s.ID)}
		}
	}
	if !s.bought() {
		return Succeeded{Booking: b}
	}
	if s.SelectedRate == nil {
		return Unknown{Detail: "the label of " + s.ID + " has no selected_rate"}
	}
	currency, err := money.ParseCurrency(s.SelectedRate.Currency)
	if err != nil {
		return Unknown{Detail: fmt.Sprintf("price of %s: %v", s.ID, err)}
	}
	cost, err := money.ParseAmount(s.SelectedRate.Rate, currency)
	if err != nil {
		return Unknown{Detail: fmt.Sprintf("price of %s: %v", s.ID, err)}
	}
	if cost.Minor < 0 || plainText(s.SelectedRate.Carrier) == "" || plainText(*s.TrackingCode) == "" {
		return Unknown{Detail: plainText(fmt.Sprintf("the label of %s is %s by %q with tracking code %q, which cannot be",
			s.ID, cost, s.SelectedRate.Carrier, *s.TrackingCode))}
	}
	b.Label = &BoughtLabel{
		ID: plainText(s.PostageLabel.ID), Carrier: plainText(s.SelectedRate.Carrier),
		Tracking: plainText(*s.TrackingCode), Cost: cost,
	}
	return Succeeded{Booking: b}
}

var _ Carrier = (*HTTPCarrier)(nil)
