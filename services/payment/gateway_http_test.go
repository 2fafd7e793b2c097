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
	gateway := p.gateway(t, unhurried)
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
	gateway := p.gateway(t, unhurried)
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
	var (
		noAnswer      = payment.Unknown{Reason: payment.DoubtNoAnswer}
		providerError = payment.Unknown{Reason: payment.DoubtProviderError}
		config        = payment.Unknown{Reason: payment.DoubtConfig}
		isBusy        = payment.Unknown{Reason: payment.DoubtBusy}
		mismatch      = payment.Unknown{Reason: payment.DoubtMismatch}
		declined      = payment.Refused{Class: payment.FailureDeclined, Code: payment.CodeCardDeclined}
		expired       = payment.Refused{Class: payment.FailureExpired, Code: payment.CodeAuthorizationExpired}
		rejected      = payment.Refused{Class: payment.FailureBug, Code: payment.CodeProviderRejected}
		done          = payment.Succeeded{}
		missing       = payment.NotFound{}
	)
	const (
		answered = payment.ExchangeResponse
		reset    = payment.ExchangeReset
		timeout  = payment.ExchangeTimeout
	)
	tests := []struct {
		name  string
		call  payment.Call
		fault fault
		first payment.Outcome
		probe payment.Outcome
		net   payment.ExchangeOutcome
	}{
		{"create lost before", payment.CallCreate, dropBefore, noAnswer, missing, reset},
		{"create lost after", payment.CallCreate, dropAfter, noAnswer, missing, reset},
		{"create 500", payment.CallCreate, error500, providerError, missing, answered},
		{"create nonsense", payment.CallCreate, nonsense, noAnswer, missing, answered},
		{"create refused", payment.CallCreate, refuses, rejected, missing, answered},
		{"create 401", payment.CallCreate, unauthorized, config, missing, answered},
		{"create 429", payment.CallCreate, busy, isBusy, missing, answered},
		{"confirm lost before", payment.CallConfirm, dropBefore, noAnswer, missing, reset},
		{"confirm lost after", payment.CallConfirm, dropAfter, noAnswer, done, reset},
		{"confirm 500", payment.CallConfirm, error500, providerError, done, answered},
		{"confirm nonsense", payment.CallConfirm, nonsense, noAnswer, done, answered},
		{"confirm late", payment.CallConfirm, late, noAnswer, missing, timeout},
		{"confirm declined", payment.CallConfirm, declines, declined, declined, answered},
		{"confirm blocks another amount", payment.CallConfirm, lessMoney, mismatch, mismatch, answered},
		{"confirm wants the customer", payment.CallConfirm, wantsCustomer, declined, expired, answered},
		{"capture lost before", payment.CallCapture, dropBefore, noAnswer, missing, reset},
		{"capture lost after", payment.CallCapture, dropAfter, noAnswer, done, reset},
		{"capture 500", payment.CallCapture, error500, providerError, done, answered},
		{"capture late", payment.CallCapture, late, noAnswer, missing, timeout},
		{"capture declined", payment.CallCapture, declines, declined, missing, answered},
		{"capture expired", payment.CallCapture, expires, expired, expired, answered},
		{"capture 401", payment.CallCapture, unauthorized, config, missing, answered},
		{"cancel lost before", payment.CallCancel, dropBefore, noAnswer, missing, reset},
		{"cancel lost after", payment.CallCancel, dropAfter, noAnswer, done, reset},
		{"cancel 500", payment.CallCancel, error500, providerError, done, answered},
		{"cancel expired", payment.CallCancel, expires, expired, expired, answered},
		{"cancel refused", payment.CallCancel, refuses, rejected, missing, answered},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			patience := unhurried
			if test.fault == late {
				patience = time.Second
			}
			gateway := p.gateway(t, patience)
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
	}
}

func TestHTTPGateway_UnknownToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	answer := p.gateway(t, unhurried).Do(t.Context(), authorizeRequest("tok_unknown"))
	requireOutcome(t,
		payment.Refused{Class: payment.FailureInvalid, Code: payment.CodeInvalidPaymentMethod}, answer.Outcome)
	require.Len(t, answer.Exchanges, 1, "nothing to confirm")
}

// The same key with another request is a contradiction, not a refusal: the first request may have had the effect.
func TestHTTPGateway_ReusedKeyIsNoRefusal(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t, unhurried)
	r := authorizeRequest("tok_visa")
	require.IsType(t, payment.Succeeded{}, gateway.Do(t.Context(), r).Outcome)
	r.Amount.Minor++
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtMismatch}, gateway.Do(t.Context(), r).Outcome)
}

func TestHTTPGateway_NobodyThere(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t, unhurried)
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
	answer := p.gateway(t, unhurried).Do(ctx, authorizeRequest("tok_visa"))
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtNoAnswer}, answer.Outcome)
	require.Equal(t, payment.ExchangeCancelled, answer.Exchanges[0].Outcome)
}

// A transport that sends a lost request again by itself would hide an attempt.
func TestHTTPGateway_SendsOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	gateway := p.gateway(t, unhurried)
	first := gateway.Do(t.Context(), authorizeRequest("tok_visa"))
	require.IsType(t, payment.Succeeded{}, first.Outcome, "there is a connection now to reuse")
	p.next(payment.CallCreate, dropAfter)
	lost := gateway.Do(t.Context(), authorizeRequest("tok_visa"))
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtNoAnswer}, lost.Outcome)
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
	answer := gateway.Do(t.Context(), authorizeRequest("tok_visa"))
	requireOutcome(t, payment.Unknown{Reason: payment.DoubtMismatch}, answer.Outcome)
}

func TestNewHTTPGateway_BadURL(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "gateway:8090", "ftp://gateway", "http://", "://"} {
		_, err := payment.NewHTTPGateway(payment.HTTPGatewayConfig{URL: bad})
		require.ErrorContains(t, err, "GATEWAY_URL", "%q", bad)
	}
}
