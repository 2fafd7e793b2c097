package payment_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/payment"
)

func authorizeRequest(token string) payment.Request {
	key := payment.OperationKey(uuid.NewString()+":authorize_payment:1", payment.KindAuthorize, 1)
	return payment.Request{
		Kind: payment.KindAuthorize, OperationID: payment.OperationID(key), OrderID: uuid.New(), Key: key,
		Amount: eur(1999), PaymentToken: token,
	}
}

// later is another operation on the intent of a request.
func later(r payment.Request, kind payment.Kind, ref string) payment.Request {
	r.Kind, r.IntentRef = kind, ref
	r.Key = payment.OperationKey(r.Key, kind, 1)
	r.OperationID = payment.OperationID(r.Key)
	return r
}

func TestHTTPGateway_WholeLife(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t)
	r := authorizeRequest("tok_visa")

	require.IsType(t, payment.NotFound{}, gateway.Probe(t.Context(), r).Outcome, "nothing was asked yet")
	answer := gateway.Do(t.Context(), r)
	done, ok := answer.Outcome.(payment.Succeeded)
	require.True(t, ok, "%#v", answer.Outcome)
	require.Equal(t, "pi_1", done.IntentRef)
	require.Equal(t, "ch_pi_1", done.Ref)
	require.WithinDuration(t, time.Now().Add(7*24*time.Hour), done.CaptureBefore, time.Minute)
	require.Len(t, answer.Exchanges, 2)
	require.Equal(t, []payment.Call{payment.CallCreate, payment.CallConfirm}, gateway.Calls(r))
	for i, x := range answer.Exchanges {
		require.Equal(t, gateway.Calls(r)[i], x.Call)
		require.Equal(t, payment.ExchangeResponse, x.Outcome)
		require.Equal(t, 200, x.HTTPStatus)
		require.Equal(t, "req_1", x.RequestID)
	}
	require.Equal(t, done, gateway.Do(t.Context(), r).Outcome, "a repeat is a repeat")
	require.Equal(t, done, gateway.Probe(t.Context(), r).Outcome)

	capture := later(r, payment.KindCapture, done.IntentRef)
	require.IsType(t, payment.NotFound{}, gateway.Probe(t.Context(), capture).Outcome)
	captured, ok := gateway.Do(t.Context(), capture).Outcome.(payment.Succeeded)
	require.True(t, ok)
	require.Equal(t, captured, gateway.Do(t.Context(), capture).Outcome)
	require.Equal(t, captured, gateway.Probe(t.Context(), capture).Outcome)

	tooLate, ok := gateway.Do(t.Context(), later(r, payment.KindVoid, done.IntentRef)).Outcome.(payment.Refused)
	require.True(t, ok)
	require.Equal(t, payment.CodeAlreadyCaptured, tooLate.Code)
	require.Equal(t, 1, p.count("authorize"))
	require.Equal(t, 1, p.count("capture"))
	require.Zero(t, p.count("void"))
}

func TestHTTPGateway_Void(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t)
	r := authorizeRequest("tok_visa")
	done, ok := gateway.Do(t.Context(), r).Outcome.(payment.Succeeded)
	require.True(t, ok)
	void := later(r, payment.KindVoid, done.IntentRef)
	require.IsType(t, payment.NotFound{}, gateway.Probe(t.Context(), void).Outcome)
	for range 2 {
		require.Equal(t, payment.Succeeded{Ref: "pi_1", IntentRef: "pi_1"}, gateway.Do(t.Context(), void).Outcome)
	}
	require.IsType(t, payment.Succeeded{}, gateway.Probe(t.Context(), void).Outcome)
	gone, ok := gateway.Do(t.Context(), later(r, payment.KindCapture, done.IntentRef)).Outcome.(payment.Refused)
	require.True(t, ok)
	require.Equal(t, payment.CodeAuthorizationExpired, gone.Code)
	require.Equal(t, 1, p.count("void"))
}

// What may be concluded from a request gone wrong, and what from asking afterwards.
func TestHTTPGateway_Faults(t *testing.T) {
	t.Parallel()
	refused := func(class payment.FailureClass, code string) payment.Refused {
		return payment.Refused{Class: class, Code: code}
	}
	unknown := func(reason payment.Doubt) payment.Unknown { return payment.Unknown{Reason: reason} }
	done, missing := payment.Succeeded{}, payment.NotFound{}
	tests := []struct {
		name  string
		call  payment.Call
		fault fault
		first payment.Outcome
		probe payment.Outcome
		net   payment.ExchangeOutcome
	}{
		{"create lost before", payment.CallCreate, dropBefore, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeReset},
		{"create lost after", payment.CallCreate, dropAfter, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeReset},
		{"create 500", payment.CallCreate, error500, unknown(payment.DoubtProviderError), missing, payment.ExchangeResponse},
		{"create nonsense", payment.CallCreate, nonsense, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeResponse},
		{"create refused", payment.CallCreate, refuses, refused(payment.FailureBug, payment.CodeProviderRejected), missing, payment.ExchangeResponse},
		{"create 401", payment.CallCreate, unauthorized, unknown(payment.DoubtConfig), missing, payment.ExchangeResponse},
		{"create 429", payment.CallCreate, busy, unknown(payment.DoubtBusy), missing, payment.ExchangeResponse},
		{"confirm lost before", payment.CallConfirm, dropBefore, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeReset},
		{"confirm lost after", payment.CallConfirm, dropAfter, unknown(payment.DoubtNoAnswer), done, payment.ExchangeReset},
		{"confirm 500", payment.CallConfirm, error500, unknown(payment.DoubtProviderError), done, payment.ExchangeResponse},
		{"confirm nonsense", payment.CallConfirm, nonsense, unknown(payment.DoubtNoAnswer), done, payment.ExchangeResponse},
		{"confirm late", payment.CallConfirm, late, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeTimeout},
		{"confirm declined", payment.CallConfirm, declines, refused(payment.FailureDeclined, payment.CodeCardDeclined), refused(payment.FailureDeclined, payment.CodeCardDeclined), payment.ExchangeResponse},
		{"confirm blocks another amount", payment.CallConfirm, lessMoney, unknown(payment.DoubtMismatch), unknown(payment.DoubtMismatch), payment.ExchangeResponse},
		{"confirm wants the customer", payment.CallConfirm, wantsCustomer, refused(payment.FailureDeclined, payment.CodeCardDeclined), refused(payment.FailureExpired, payment.CodeAuthorizationExpired), payment.ExchangeResponse},
		{"capture lost before", payment.CallCapture, dropBefore, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeReset},
		{"capture lost after", payment.CallCapture, dropAfter, unknown(payment.DoubtNoAnswer), done, payment.ExchangeReset},
		{"capture 500", payment.CallCapture, error500, unknown(payment.DoubtProviderError), done, payment.ExchangeResponse},
		{"capture late", payment.CallCapture, late, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeTimeout},
		{"capture declined", payment.CallCapture, declines, refused(payment.FailureDeclined, payment.CodeCardDeclined), missing, payment.ExchangeResponse},
		{"capture expired", payment.CallCapture, expires, refused(payment.FailureExpired, payment.CodeAuthorizationExpired), refused(payment.FailureExpired, payment.CodeAuthorizationExpired), payment.ExchangeResponse},
		{"capture 401", payment.CallCapture, unauthorized, unknown(payment.DoubtConfig), missing, payment.ExchangeResponse},
		{"cancel lost before", payment.CallCancel, dropBefore, unknown(payment.DoubtNoAnswer), missing, payment.ExchangeReset},
		{"cancel lost after", payment.CallCancel, dropAfter, unknown(payment.DoubtNoAnswer), done, payment.ExchangeReset},
		{"cancel 500", payment.CallCancel, error500, unknown(payment.DoubtProviderError), done, payment.ExchangeResponse},
		{"cancel expired", payment.CallCancel, expires, refused(payment.FailureExpired, payment.CodeAuthorizationExpired), refused(payment.FailureExpired, payment.CodeAuthorizationExpired), payment.ExchangeResponse},
		{"cancel refused", payment.CallCancel, refuses, refused(payment.FailureBug, payment.CodeProviderRejected), missing, payment.ExchangeResponse},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			gateway := p.gateway(t)
			r := authorizeRequest("tok_visa")
			if kind := kindOf(test.call); kind != payment.KindAuthorize {
				authorized, ok := gateway.Do(t.Context(), r).Outcome.(payment.Succeeded)
				require.True(t, ok)
				r = later(r, kind, authorized.IntentRef)
			}
			p.next(test.call, test.fault)
			answer := gateway.Do(t.Context(), r)
			requireOutcome(t, test.first, answer.Outcome)
			for _, x := range answer.Exchanges {
				if x.Call == test.call {
					require.Equal(t, test.net, x.Outcome)
				}
			}
			requireOutcome(t, test.probe, gateway.Probe(t.Context(), r).Outcome)
			require.LessOrEqual(t, p.count("authorize"), 1)
			require.LessOrEqual(t, p.count("capture"), 1)
		})
	}
}

func kindOf(call payment.Call) payment.Kind {
	switch call {
	case payment.CallCapture:
		return payment.KindCapture
	case payment.CallCancel:
		return payment.KindVoid
	default:
		return payment.KindAuthorize
	}
}

// requireOutcome compares what can be known beforehand: the kind, the class and code, the reason.
func requireOutcome(t *testing.T, want, got payment.Outcome) {
	t.Helper()
	require.IsType(t, want, got, "%#v", got)
	switch got := got.(type) {
	case payment.Refused:
		require.Equal(t, want, payment.Refused{Class: got.Class, Code: got.Code}, "%s", got.Detail)
	case payment.Unknown:
		require.Equal(t, want, payment.Unknown{Reason: got.Reason}, "%s", got.Detail)
		require.NotEmpty(t, got.Detail)
	case payment.Succeeded:
		require.NotEmpty(t, got.Ref)
	case payment.NotFound:
		require.WithinDuration(t, time.Now(), got.AsOf, time.Minute)
	}
}

func TestHTTPGateway_UnknownToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	answer := p.gateway(t).Do(t.Context(), authorizeRequest("tok_unknown"))
	requireOutcome(t, payment.Refused{Class: payment.FailureInvalid, Code: payment.CodeInvalidPaymentMethod}, answer.Outcome)
	require.Len(t, answer.Exchanges, 1, "nothing to confirm")
}

// The same key with another request is a contradiction, not a refusal: the first request may have had the effect.
func TestHTTPGateway_ReusedKeyIsNoRefusal(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t)
	r := authorizeRequest("tok_visa")
	require.IsType(t, payment.Succeeded{}, gateway.Do(t.Context(), r).Outcome)
	r.Amount.Minor++
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtMismatch}, gateway.Do(t.Context(), r).Outcome)
}

func TestHTTPGateway_NobodyThere(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t)
	p.server.Close()
	answer := gateway.Do(t.Context(), authorizeRequest("tok_visa"))
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtNoAnswer}, answer.Outcome)
	require.Equal(t, payment.ExchangeNotSent, answer.Exchanges[0].Outcome)
}

func TestHTTPGateway_Stopping(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.next(payment.CallCreate, late)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-p.waiting
		cancel()
	}()
	answer := p.gateway(t).Do(ctx, authorizeRequest("tok_visa"))
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtNoAnswer}, answer.Outcome)
	require.Equal(t, payment.ExchangeCancelled, answer.Exchanges[0].Outcome)
}

// A transport that sends a lost request again by itself would hide an attempt.
func TestHTTPGateway_SendsOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t)
	require.IsType(t, payment.Succeeded{}, gateway.Do(t.Context(), authorizeRequest("tok_visa")).Outcome, "warms a connection")
	p.next(payment.CallCreate, dropAfter)
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtNoAnswer}, gateway.Do(t.Context(), authorizeRequest("tok_visa")).Outcome)
}

func TestHTTPGateway_DoesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the request was sent somewhere else")
	}))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	gateway, err := payment.NewHTTPGateway(payment.HTTPGatewayConfig{URL: server.URL, Timeout: time.Second, MaxConns: 1})
	require.NoError(t, err)
	t.Cleanup(gateway.Close)
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtMismatch}, gateway.Do(t.Context(), authorizeRequest("tok_visa")).Outcome)
}

func TestNewHTTPGateway_BadURL(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "gateway:8090", "ftp://gateway", "http://", "://"} {
		_, err := payment.NewHTTPGateway(payment.HTTPGatewayConfig{URL: bad})
		require.ErrorContains(t, err, "GATEWAY_URL", "%q", bad)
	}
}
