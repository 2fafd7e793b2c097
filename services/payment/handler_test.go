package payment_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/payment"
)

// bundle is a payment participant with a database and a provider of its own.
type bundle struct {
	*workertest.Kit
	provider *provider
}

// patient sends again as soon as nothing is found: no effect is so slow to show that a test would have to wait for it.
var patient = payment.Policy{Visibility: time.Nanosecond, KeyLife: time.Hour}

// unhurried is the time of one exchange where none is meant to time out.
const unhurried = 20 * time.Second

func setup(t *testing.T) bundle {
	t.Helper()
	return setupWith(t, patient, unhurried)
}

func setupWith(t *testing.T, policy payment.Policy, timeout time.Duration) bundle {
	t.Helper()
	pool := pgtest.DB(t, migrations.FS(payment.Participant))
	provider := newProvider(t)
	gateway := provider.gateway(t, timeout)
	log := slog.New(slog.DiscardHandler)
	kit := workertest.New(t, pool, func(w *worker.Worker) {
		// A new worker has new handlers: what a process remembers dies with it.
		payment.NewHandlers(pool, gateway, policy, []time.Duration{time.Minute}, log, nil).Register(w)
	}, func(c *worker.Config) { c.Participant, c.CallTimeout = payment.Participant, time.Minute })
	return bundle{kit, provider}
}

const (
	authorizeStep = "authorize_payment"
	captureStep   = "capture_payment"
)

func authorize(meta *sagav1.CommandMeta, token string) *paymentv1.AuthorizePayment {
	return &paymentv1.AuthorizePayment{
		Meta: meta, AmountMinor: 1999, Currency: "EUR", PaymentToken: token, CustomerId: "c-1", Reference: "R-1",
	}
}

func void(meta *sagav1.CommandMeta) *paymentv1.VoidAuthorization {
	return &paymentv1.VoidAuthorization{Meta: workertest.UndoMeta(meta), Reason: "test"}
}

func capture(meta *sagav1.CommandMeta) *paymentv1.CapturePayment {
	return &paymentv1.CapturePayment{Meta: workertest.StepMeta(meta, captureStep), AmountMinor: 1999, Currency: "EUR"}
}

func TestConformance_Authorize(t *testing.T) {
	t.Parallel()
	workertest.Conformance(t, workertest.Contract{
		Step: authorizeStep,
		Kit: func(t *testing.T) *workertest.Kit {
			t.Helper()
			b := setup(t)
			worlds.Store(b.Kit, b.provider)
			return b.Kit
		},
		Do: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return authorize(meta, "tok_visa")
		},
		Refused: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return authorize(meta, "tok_declined")
		},
		Undo: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return void(meta)
		},
		Effects: func(t *testing.T, kit *workertest.Kit) int {
			t.Helper()
			requireBooksAgree(t, kit.Pool)
			return worldOf(t, kit).held()
		},
	})
}

func TestConformance_Capture(t *testing.T) {
	t.Parallel()
	authorized := func(t *testing.T, kit *workertest.Kit, meta *sagav1.CommandMeta) {
		t.Helper()
		require.NotNil(t, kit.Do(t, authorize(workertest.StepMeta(meta, authorizeStep), "tok_visa")).GetDone())
	}
	workertest.Conformance(t, workertest.Contract{
		Step: captureStep,
		Kit: func(t *testing.T) *workertest.Kit {
			t.Helper()
			b := setup(t)
			worlds.Store(b.Kit, b.provider)
			return b.Kit
		},
		Do: func(t *testing.T, kit *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			t.Helper()
			authorized(t, kit, meta)
			return capture(meta)
		},
		Refused: func(t *testing.T, kit *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			t.Helper()
			authorized(t, kit, meta)
			c := capture(meta)
			c.AmountMinor--
			return c
		},
		Effects: func(t *testing.T, kit *workertest.Kit) int {
			t.Helper()
			requireBooksAgree(t, kit.Pool)
			return worldOf(t, kit).count("capture")
		},
	})
}

func TestAuthorize_Done(t *testing.T) {
	t.Parallel()
	b := setup(t)
	meta := workertest.Meta(authorizeStep)
	done := b.Do(t, authorize(meta, "tok_visa")).GetDone()
	require.NotNil(t, done)
	require.Len(t, done.GetEffects(), 1)
	effect := done.GetEffects()[0]
	require.Equal(t, "authorization", effect.GetKind())
	require.EqualValues(t, 1999, effect.GetAmount())
	require.Equal(t, "EUR", effect.GetUnit())
	require.Equal(t, "pi_1", effect.GetHandle())
	require.Equal(t, "pi_1", done.GetHandles()["gateway_ref"])

	intent := intentOf(t, b.Pool, meta)
	require.Equal(t, done.GetHandles()["intent_id"], intent.ID.String())
	require.Equal(t, "authorized", intent.State)
	require.EqualValues(t, 1999, intent.Authorized)
	require.Equal(t, []string{"authorize succeeded"}, operationsOf(t, b.Pool, meta))
	require.Equal(t, []string{"1 create response 200", "2 confirm response 200"}, attemptsOf(t, b.Pool, meta))
}

func TestCapture_Done(t *testing.T) {
	t.Parallel()
	b := setup(t)
	meta := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetDone())
	done := b.Do(t, capture(meta)).GetDone()
	require.NotNil(t, done)
	require.Equal(t, map[string]string{"capture_ref": "ch_pi_1"}, done.GetHandles())
	effect := done.GetEffects()[0]
	require.Equal(t, "capture 1999 EUR ch_pi_1", effectText(effect))
	intent := intentOf(t, b.Pool, meta)
	require.Equal(t, "captured", intent.State)
	require.EqualValues(t, 1999, intent.Captured)
	require.Zero(t, intent.CapturePending)

	late := b.Undo(t, void(meta)).GetRefused()
	require.NotNil(t, late, "what is charged cannot be voided")
	require.Equal(t, payment.CodeAlreadyCaptured, late.GetCode())
	requireBooksAgree(t, b.Pool)
}

func TestAuthorize_Refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	taken := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(taken, "tok_visa")).GetDone())
	twice := workertest.Meta(authorizeStep)
	twice.OrderId = taken.GetOrderId()
	nothing := authorize(workertest.Meta(authorizeStep), "tok_visa")
	nothing.AmountMinor = 0
	tests := []struct {
		name    string
		command *paymentv1.AuthorizePayment
		code    string
	}{
		{"declined", authorize(workertest.Meta(authorizeStep), "tok_declined"), payment.CodeCardDeclined},
		{"no such token", authorize(workertest.Meta(authorizeStep), "tok_unknown"), payment.CodeInvalidPaymentMethod},
		{"card number", authorize(workertest.Meta(authorizeStep), "4242424242424242"), payment.CodeInvalidPaymentMethod},
		{"order has an authorization", authorize(twice, "tok_visa"), payment.CodeAlreadyAuthorized},
		{"nothing to pay", nothing, payment.CodeInvalidAmount},
	}
	for _, test := range tests {
		refused := b.Do(t, test.command).GetRefused()
		require.NotNil(t, refused, test.name)
		require.Equal(t, test.code, refused.GetCode(), test.name)
	}
	require.Equal(t, 1, b.provider.held())
	requireBooksAgree(t, b.Pool)
}

// Two sagas that want to pay one order in the same poll: one of them does.
func TestAuthorize_TwoSagasOneOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := workertest.Meta(authorizeStep), workertest.Meta(authorizeStep)
	second.OrderId = first.GetOrderId()
	var done, refused int
	for _, reply := range b.Send(t, authorize(first, "tok_visa"), authorize(second, "tok_visa")) {
		switch {
		case reply.GetDone() != nil:
			done++
		case reply.GetRefused().GetCode() == payment.CodeAlreadyAuthorized:
			refused++
		}
	}
	require.Equal(t, 1, done)
	require.Equal(t, 1, refused)
	require.Equal(t, 1, b.provider.count("authorize"))
}

func TestCapture_Refused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	order := func(after func(meta *sagav1.CommandMeta)) *sagav1.CommandMeta {
		meta := workertest.Meta(authorizeStep)
		require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetDone())
		after(meta)
		return meta
	}
	nothing := func(*sagav1.CommandMeta) {}
	more := capture(order(nothing))
	more.AmountMinor++
	dollars := capture(order(nothing))
	dollars.Currency = "USD"
	voided := order(func(meta *sagav1.CommandMeta) { require.NotNil(t, b.Undo(t, void(meta)).GetUndone()) })
	expired := order(func(*sagav1.CommandMeta) { b.provider.next(payment.CallCapture, expires) })
	require.Equal(t, payment.CodeAuthorizationExpired, b.Do(t, capture(expired)).GetRefused().GetCode())
	declined := order(func(*sagav1.CommandMeta) { b.provider.next(payment.CallCapture, declines) })
	tests := []struct {
		name    string
		command *paymentv1.CapturePayment
		code    string
		state   string
	}{
		{"more than authorized", more, payment.CodeAmountMismatch, "authorized"},
		{"other currency", dollars, payment.CodeAmountMismatch, "authorized"},
		{"voided", capture(voided), payment.CodeNotAuthorized, "voided"},
		{"declined by the bank", capture(declined), payment.CodeCardDeclined, "authorized"},
	}
	for _, test := range tests {
		refused := b.Do(t, test.command).GetRefused()
		require.NotNil(t, refused, test.name)
		require.Equal(t, test.code, refused.GetCode(), test.name)
		intent := intentOf(t, b.Pool, test.command.GetMeta())
		require.Equal(t, test.state, intent.State, test.name)
		require.Zero(t, intent.CapturePending, "the headroom is given back")
	}
	never := b.Do(t, capture(workertest.Meta(authorizeStep))).GetRefused()
	require.Equal(t, payment.CodeNotAuthorized, never.GetCode())
	require.Equal(t, "auth_expired", intentOf(t, b.Pool, expired).State)
	require.False(t, b.Undo(t, void(expired)).GetUndone().GetNothing(), "the effect was there and is gone")
	require.NotNil(t, b.Undo(t, void(declined)).GetUndone(), "what could not be charged is given back")
	require.Zero(t, b.provider.count("capture"))
	requireBooksAgree(t, b.Pool)
}

// A refused payment ends its intent; another try of the same order gets a new one, and that one is captured.
func TestAuthorize_AgainAfterADecline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(first, "tok_declined")).GetRefused())
	second := workertest.StepMeta(first, authorizeStep)
	second.Generation = 2
	require.NotNil(t, b.Do(t, authorize(second, "tok_visa")).GetDone())
	require.NotNil(t, b.Do(t, capture(first)).GetDone())
	require.Equal(t, 1, b.provider.count("capture"))
	requireBooksAgree(t, b.Pool)
}

// A void that the provider refused is asked for again under another key: the provider would repeat its refusal.
func TestVoid_RefusedThenAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	meta := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetDone())
	b.provider.next(payment.CallCancel, refuses)
	refused := b.Undo(t, void(meta)).GetRefused()
	require.Equal(t, payment.CodeProviderRejected, refused.GetCode())
	require.Equal(t, "authorized", intentOf(t, b.Pool, meta).State)
	b.provider.next(payment.CallCancel, dropAfter)
	require.NotNil(t, b.Undo(t, workertest.Again(t, void(meta))).GetInDoubt())
	require.NotNil(t, b.Resolve(t)[0].GetUndone())
	require.Equal(t, 2, b.provider.keysOf(payment.CallCancel))
	require.Equal(t, 1, b.provider.count("void"))
	require.Equal(t, []string{"authorize succeeded", "void failed", "void succeeded"}, operationsOf(t, b.Pool, meta))
	requireBooksAgree(t, b.Pool)
}

// Card data is in no table, whatever a shop sends.
func TestAuthorize_CardNumberIsStoredNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const number = "4242424242424242"
	require.NotNil(t, b.Do(t, authorize(workertest.Meta(authorizeStep), number)).GetRefused())
	rows, err := b.Pool.Query(t.Context(), `
		SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`)
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, table := range tables {
		var found bool
		err := b.Pool.QueryRow(t.Context(), `
			SELECT COALESCE(bool_or(position($1 IN row::text) > 0 OR position($2 IN row::text) > 0), false)
			FROM `+pgx.Identifier{table}.Sanitize()+` AS row`, number, hexOf(number)).Scan(&found)
		require.NoError(t, err)
		require.False(t, found, "a card number in table %s", table)
	}
}
