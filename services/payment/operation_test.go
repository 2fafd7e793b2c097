package payment_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/payment"
)

func TestPolicy_MaySendAgain(t *testing.T) {
	t.Parallel()
	policy := payment.Policy{Visibility: 2 * time.Second, KeyLife: time.Hour}
	sent := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name  string
		age   time.Duration
		again bool
		state payment.OperationState
	}{
		{"the effect may not show yet", time.Second, false, payment.OperationUnknown},
		{"it would show by now", 2 * time.Second, true, payment.OperationUnknown},
		{"the key is still known", time.Hour - time.Nanosecond, true, payment.OperationUnknown},
		{"the key may be forgotten", time.Hour, false, payment.OperationManual},
		{"a clock that runs behind", -time.Minute, false, payment.OperationUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.again, policy.MaySendAgain(sent, sent.Add(test.age)))
			require.Equal(t, test.state, policy.Undecided(sent, sent.Add(test.age)))
		})
	}
}

func TestOperationKey(t *testing.T) {
	t.Parallel()
	const effect = "0198c0de-0000-7000-8000-000000000001:authorize_payment:1"
	first := payment.OperationKey(effect, payment.KindVoid, 1)
	require.Equal(t, effect+"/void", first)
	require.Equal(t, effect+"/void/2", payment.OperationKey(effect, payment.KindVoid, 2))
	require.Equal(t, payment.OperationID(first), payment.OperationID(first), "every attempt means the same operation")
	other := payment.OperationKey(effect, payment.KindAuthorize, 1)
	require.NotEqual(t, payment.OperationID(first), payment.OperationID(other))
}
