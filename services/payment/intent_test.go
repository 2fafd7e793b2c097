package payment_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"recourse.dev/pkg/money"
	"recourse.dev/services/payment"
)

func eur(minor int64) money.Money { return money.Money{Minor: minor, Currency: "EUR"} }

func authorized(minor int64) payment.Intent {
	return payment.Intent{ID: uuid.New(), State: payment.IntentAuthorized, Amount: eur(minor), Authorized: minor}
}

func TestIntent_BeginCapture(t *testing.T) {
	t.Parallel()
	in := func(state payment.IntentState) payment.Intent {
		i := authorized(1000)
		i.State = state
		return i
	}
	tests := []struct {
		name   string
		intent payment.Intent
		amount money.Money
		code   string
	}{
		{"authorized and equal", authorized(1000), eur(1000), ""},
		{"less than authorized", authorized(1000), eur(999), payment.CodeAmountMismatch},
		{"more than authorized", authorized(1000), eur(1001), payment.CodeAmountMismatch},
		{"other currency", authorized(1000), money.Money{Minor: 1000, Currency: "USD"}, payment.CodeAmountMismatch},
		{"expired", in(payment.IntentAuthExpired), eur(1000), payment.CodeAuthorizationExpired},
		{"captured", in(payment.IntentCaptured), eur(1000), payment.CodeAlreadyCaptured},
		{"being captured", in(payment.IntentCapturing), eur(1000), payment.CodeAlreadyCaptured},
		{"declined", in(payment.IntentDeclined), eur(1000), payment.CodeNotAuthorized},
		{"still authorizing", in(payment.IntentAuthorizing), eur(1000), payment.CodeNotAuthorized},
		{"being voided", in(payment.IntentVoiding), eur(1000), payment.CodeNotAuthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := test.intent
			refusal := test.intent.BeginCapture(test.amount)
			if test.code == "" {
				require.Nil(t, refusal)
				require.Equal(t, payment.IntentCapturing, test.intent.State)
				require.Zero(t, test.intent.Headroom(), "the headroom is taken before the call")
				return
			}
			require.NotNil(t, refusal)
			require.Equal(t, test.code, refusal.Code)
			require.Equal(t, before, test.intent, "a refusal changes nothing")
		})
	}
}

func TestIntent_BeginVoid(t *testing.T) {
	t.Parallel()
	want := map[payment.IntentState]payment.VoidVerdict{
		payment.IntentCreated:        payment.VoidLater,
		payment.IntentAuthorizing:    payment.VoidLater,
		payment.IntentRequiresAction: payment.VoidLater,
		payment.IntentAuthorized:     payment.VoidCall,
		payment.IntentCapturing:      payment.VoidLater,
		payment.IntentCaptured:       payment.VoidTooLate,
		payment.IntentVoiding:        payment.VoidLater,
		payment.IntentVoided:         payment.VoidNothing,
		payment.IntentDeclined:       payment.VoidNothing,
		payment.IntentAuthExpired:    payment.VoidNothing,
		payment.IntentClosed:         payment.VoidNothing,
	}
	for _, state := range payment.IntentStates() {
		intent := payment.Intent{State: state}
		require.Equal(t, want[state] != payment.VoidNothing, intent.Live(), "%s: what is live may hold something", state)
		require.Equal(t, want[state], intent.BeginVoid(), "%s", state)
	}
}

// Whatever the provider answers, in whatever order operations come, no money is made or lost and nothing is charged or
// given back beyond what was authorized.
func TestSettle_ConservesMoney(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(1, 1<<40).Draw(t, "amount")
		intent := payment.Intent{ID: uuid.New(), State: payment.IntentAuthorizing, Amount: eur(amount)}
		balance := map[payment.Account]int64{}
		settle := func(kind payment.Kind, minor int64) {
			s, settled := payment.Settle(kind, minor, rapid.SampledFrom([]payment.Outcome{
				payment.Succeeded{Ref: "ch", IntentRef: "pi"},
				payment.Refused{Class: payment.FailureDeclined, Code: "c"},
				payment.Refused{Class: payment.FailureExpired, Code: "c"},
				payment.Unknown{Reason: payment.DoubtNoAnswer},
				payment.NotFound{},
			}).Draw(t, "outcome"))
			if !settled {
				require.Zero(t, s, "what is not known changes nothing")
				return
			}
			intent.State = s.State
			intent.Authorized += s.Authorized
			intent.Captured += s.Captured
			intent.CapturePending += s.CapturePending
			intent.Voided += s.Voided
			intent.Expired += s.Expired
			for _, e := range s.Entries(minor) {
				balance[e.Account] += e.Amount
			}
		}
		settle(payment.KindAuthorize, amount)
		for range rapid.IntRange(0, 4).Draw(t, "operations") {
			if rapid.Bool().Draw(t, "capture") {
				if headroom := intent.Headroom(); intent.BeginCapture(eur(headroom)) == nil {
					settle(payment.KindCapture, headroom)
				}
				continue
			}
			if headroom := intent.Headroom(); intent.BeginVoid() == payment.VoidCall {
				settle(payment.KindVoid, headroom)
			}
		}
		require.GreaterOrEqual(t, intent.Headroom(), int64(0))
		require.LessOrEqual(t, intent.Authorized, amount)
		held := intent.Authorized - intent.Captured - intent.Voided - intent.Expired
		require.Equal(t, held, balance[payment.AccountCustomerHold])
		require.Equal(t, intent.Captured, balance[payment.AccountMerchantReceivable])
		require.Equal(t, -held-intent.Captured, balance[payment.AccountCustomerFunds])
		switch intent.State {
		case payment.IntentVoided, payment.IntentAuthExpired, payment.IntentDeclined, payment.IntentCaptured:
			require.Zero(t, held, "%s holds nothing", intent.State)
		default:
		}
	})
}
