package payment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/service"
)

// maxAnswer bounds what is read of a provider's answer.
const maxAnswer = 1 << 20

// HTTPGateway is the adapter for a provider that speaks the payment-intent API: two calls to authorize (an unconfirmed
// intent costs nothing, so an answer lost between them is harmless), then capture or cancel by the intent's id.
type HTTPGateway struct {
	base    *url.URL
	key     service.Secret
	timeout time.Duration
	client  *http.Client
}

// HTTPGatewayConfig says where the provider is.
type HTTPGatewayConfig struct {
	URL string
	// Key is sent as a bearer token; empty sends none.
	Key service.Secret
	// Timeout bounds one exchange.
	Timeout time.Duration
	// MaxConns bounds the connections to the provider.
	MaxConns int
}

// NewHTTPGateway makes the adapter. It has a transport of its own, so that nothing else in the process can change the
// timeouts or use up the connections of payments.
func NewHTTPGateway(c HTTPGatewayConfig) (*HTTPGateway, error) {
	base, err := parseGatewayURL(c.URL)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: c.Timeout, KeepAlive: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxConnsPerHost:       c.MaxConns,
		MaxIdleConns:          c.MaxConns,
		MaxIdleConnsPerHost:   c.MaxConns,
		TLSHandshakeTimeout:   c.Timeout,
		ResponseHeaderTimeout: c.Timeout,
		// Shorter than servers usually keep a connection: a request on a connection that the server is just closing
		// would be one more unknown outcome.
		IdleConnTimeout: 20 * time.Second,
	}
	return &HTTPGateway{
		base: base, key: c.Key, timeout: c.Timeout,
		client: &http.Client{
			Transport: httpserver.Traced(transport),
			// A redirected POST would arrive as another request.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func parseGatewayURL(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("GATEWAY_URL=%q: want http://host:port or https://host", text)
	}
	return base, nil
}

// Close gives the idle connections back.
func (g *HTTPGateway) Close() { g.client.CloseIdleConnections() }

// Name is the host that holds the intents.
func (g *HTTPGateway) Name() string { return g.base.Host }

// Calls lists the requests that Do is going to make.
func (g *HTTPGateway) Calls(r Request) []Call {
	switch r.Kind {
	case KindAuthorize:
		if r.IntentRef != "" {
			return []Call{CallConfirm}
		}
		return []Call{CallCreate, CallConfirm}
	case KindCapture:
		return []Call{CallCapture}
	case KindVoid:
		return []Call{CallCancel}
	}
	return nil
}

// Do asks for the effect.
func (g *HTTPGateway) Do(ctx context.Context, r Request) Answer {
	t := &talk{gateway: g, request: r}
	switch r.Kind {
	case KindAuthorize:
		return Answer{Outcome: t.authorize(ctx), Exchanges: t.exchanges}
	case KindCapture:
		intent, no := t.post(ctx, CallCapture, r.IntentRef, captureBody{AmountToCapture: r.Amount.Minor})
		return Answer{Outcome: t.decide(intent, no), Exchanges: t.exchanges}
	case KindVoid:
		intent, no := t.post(ctx, CallCancel, r.IntentRef, cancelBody{Reason: "abandoned"})
		return Answer{Outcome: t.decide(intent, no), Exchanges: t.exchanges}
	}
	return Answer{Outcome: Unknown{DoubtMismatch, fmt.Sprintf("no request for operation kind %q", r.Kind)}}
}

// Probe asks whether the effect is there.
func (g *HTTPGateway) Probe(ctx context.Context, r Request) Answer {
	t := &talk{gateway: g, request: r}
	var (
		found *paymentIntent
		no    Outcome
	)
	if r.IntentRef != "" {
		found, no = t.get(ctx, r.IntentRef)
	} else {
		found, no = t.find(ctx)
	}
	answer := Answer{Exchanges: t.exchanges}
	switch {
	case no != nil:
		answer.Outcome = no
	case found == nil:
		answer.Outcome = NotFound{}
	default:
		answer.Outcome = judge(r, *found)
	}
	return answer
}

// talk is one conversation with the provider about one operation.
type talk struct {
	gateway   *HTTPGateway
	request   Request
	exchanges []Exchange
}

func (t *talk) authorize(ctx context.Context) Outcome {
	ref := t.request.IntentRef
	if ref == "" {
		intent, no := t.post(ctx, CallCreate, "", newCreateBody(t.request))
		if no != nil {
			return no
		}
		ref = intent.ID
	}
	intent, no := t.post(ctx, CallConfirm, ref, confirmBody{PaymentMethod: t.request.PaymentToken})
	if no == nil && intent.Status == statusRequiresAction {
		return t.abandon(ctx, ref)
	}
	outcome := t.decide(intent, no)
	if refused, ok := outcome.(Refused); ok && refused.IntentRef == "" {
		refused.IntentRef = ref
		outcome = refused
	}
	return outcome
}

// abandon gives up an intent that waits for the customer: nobody is there to act, and as long as it stands somebody
// could still make it hold money.
func (t *talk) abandon(ctx context.Context, ref string) Outcome {
	intent, no := t.post(ctx, CallCancel, ref, cancelBody{Reason: "abandoned"})
	if no != nil {
		if refused, ok := no.(Refused); ok {
			return Unknown{DoubtMismatch, "giving up an intent that waits for the customer: " + refused.Detail}
		}
		return no
	}
	if intent.Status != statusCanceled {
		return Unknown{DoubtMismatch, fmt.Sprintf("intent %s is %s after it was given up", ref, intent.Status)}
	}
	return Refused{
		Class: FailureDeclined, Code: CodeCardDeclined, IntentRef: ref,
		Detail: "the bank wants the customer to authenticate: authentication_required",
	}
}

// decide is the outcome after a request for the effect: a provider that said 200 and does not show the effect has
// contradicted itself, and nothing may be concluded from that.
func (t *talk) decide(intent *paymentIntent, no Outcome) Outcome {
	if no != nil {
		return no
	}
	outcome := judge(t.request, *intent)
	if _, missing := outcome.(NotFound); missing {
		return Unknown{DoubtMismatch, fmt.Sprintf("the answer to %s shows intent %s as %s",
			t.request.Kind, intent.ID, intent.Status)}
	}
	return outcome
}

func (t *talk) get(ctx context.Context, ref string) (*paymentIntent, Outcome) {
	status, body, no := t.exchange(ctx, CallGet, http.MethodGet, "/v1/payment_intents/"+url.PathEscape(ref), nil)
	if no != nil {
		return nil, no
	}
	return readIntent(t.request, status, body)
}

// find looks for the intent of an authorization by what was written into it; nil is none.
func (t *talk) find(ctx context.Context) (*paymentIntent, Outcome) {
	query := url.Values{
		"order_id":     {t.request.OrderID.String()},
		"operation_id": {t.request.OperationID.String()},
	}
	status, body, no := t.exchange(ctx, CallList, http.MethodGet, "/v1/payment_intents?"+query.Encode(), nil)
	if no != nil {
		return nil, no
	}
	if status != http.StatusOK {
		return nil, classify(t.request, status, body)
	}
	var list struct {
		Data []paymentIntent `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, Unknown{DoubtNoAnswer, "reading the list of intents: " + err.Error()}
	}
	return furthest(t.request, list.Data)
}

// post sends a request for an effect. Each request of an operation has a key of its own, the same in every attempt.
func (t *talk) post(ctx context.Context, call Call, ref string, body any) (*paymentIntent, Outcome) {
	path := "/v1/payment_intents"
	if call != CallCreate {
		path += "/" + url.PathEscape(ref) + "/" + string(call)
	}
	status, answer, no := t.exchange(ctx, call, http.MethodPost, path, body)
	if no != nil {
		return nil, no
	}
	return readIntent(t.request, status, answer)
}

// exchange sends one request and reads the whole answer. A non-nil Outcome says that there is none to read.
func (t *talk) exchange(ctx context.Context, call Call, method, path string, body any) (int, []byte, Outcome) {
	attempt, cancel := context.WithTimeout(ctx, t.gateway.timeout)
	defer cancel()
	var connected atomic.Bool
	attempt = httptrace.WithClientTrace(attempt, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	request, err := t.newRequest(attempt, call, method, path, body)
	if err != nil {
		return 0, nil, Unknown{DoubtConfig, err.Error()}
	}
	x := Exchange{Call: call, SentAt: time.Now()}
	status, answer, err := t.send(request, &x)
	x.EndedAt = time.Now()
	switch {
	case err == nil:
		x.Outcome, x.HTTPStatus = ExchangeResponse, status
		x.ErrorType, x.ErrorCode, x.DeclineCode = errorNames(status, answer)
	case !connected.Load():
		x.Outcome = ExchangeNotSent
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		x.Outcome = ExchangeCancelled
	case isTimeout(err):
		x.Outcome = ExchangeTimeout
	default:
		x.Outcome = ExchangeReset
	}
	t.exchanges = append(t.exchanges, x)
	if err != nil {
		return 0, nil, Unknown{DoubtNoAnswer, fmt.Sprintf("%s: %s: %v", call, x.Outcome, err)}
	}
	return status, answer, nil
}

func (t *talk) newRequest(ctx context.Context, call Call, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", call, err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, t.gateway.base.JoinPath("/").String()+path[1:], content)
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", call, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", t.request.Key+":"+string(call))
		// Without GetBody the transport cannot send the request again behind our back, which it does for requests
		// with an Idempotency-Key: every attempt shall be a row.
		request.GetBody = nil
	}
	if t.gateway.key != "" {
		request.Header.Set("Authorization", "Bearer "+t.gateway.key.Reveal())
	}
	return request, nil
}

func (t *talk) send(request *http.Request, x *Exchange) (int, []byte, error) {
	response, err := t.gateway.client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			// Call and path are known; the address says nothing more.
			err = wrapped.Err
		}
		return 0, nil, err
	}
	x.RequestID = plainText(response.Header.Get("Request-Id"))
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return response.StatusCode, answer, nil
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
