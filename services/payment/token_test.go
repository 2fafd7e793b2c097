package payment_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pgtest"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	"recourse.dev/services/payment"
)

func TestCheckAuthorize(t *testing.T) {
	t.Parallel()
	command := func(minor int64, currency, token string) *paymentv1.AuthorizePayment {
		return &paymentv1.AuthorizePayment{AmountMinor: minor, Currency: currency, PaymentToken: token}
	}
	tests := []struct {
		name string
		in   *paymentv1.AuthorizePayment
		code string
	}{
		{"sound", command(1, "EUR", "tok_visa"), ""},
		{"nothing to authorize", command(0, "EUR", "tok_visa"), payment.CodeInvalidAmount},
		{"less than nothing", command(-1, "EUR", "tok_visa"), payment.CodeInvalidAmount},
		{"no currency", command(1, "", "tok_visa"), payment.CodeInvalidAmount},
		{"no such currency", command(1, "EURO", "tok_visa"), payment.CodeInvalidAmount},
		{"no token", command(1, "EUR", ""), payment.CodeInvalidPaymentMethod},
		{"NUL in the token", command(1, "EUR", "tok\x00visa"), payment.CodeInvalidPaymentMethod},
		{"endless token", command(1, "EUR", string(make([]byte, 300))), payment.CodeInvalidPaymentMethod},
		{"card number", command(1, "EUR", "4242424242424242"), payment.CodeInvalidPaymentMethod},
		{"card number with spaces", command(1, "EUR", "4242 4242 4242 4242"), payment.CodeInvalidPaymentMethod},
		{"13 digits", command(1, "EUR", "4222222222222"), payment.CodeInvalidPaymentMethod},
		{"digits that are no card number", command(1, "EUR", "4242424242424241"), ""},
		{"20 digits", command(1, "EUR", "42424242424242424242"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			refusal := payment.CheckAuthorize(test.in)
			if test.code == "" {
				require.Nil(t, refusal)
				return
			}
			require.NotNil(t, refusal)
			require.Equal(t, test.code, refusal.Code)
			if token := test.in.GetPaymentToken(); token != "" {
				require.NotContains(t, refusal.Detail, token, "the detail is stored and shown")
			}
		})
	}
}

// The service and the database agree on what a card number is.
func TestLooksLikeCardNumber_AsInTheDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("payment"))
	rapid.Check(t, func(rt *rapid.T) {
		token := rapid.OneOf(
			rapid.StringMatching(`[0-9]{11,21}`),
			rapid.StringMatching(`4[0-9]{3}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{4}`),
			rapid.StringMatching(`[0-9a-z_]{10,20}`),
		).Draw(rt, "token")
		var inDatabase bool
		require.NoError(rt, pool.QueryRow(t.Context(), `SELECT looks_like_card_number($1)`, token).Scan(&inDatabase))
		refusal := payment.CheckAuthorize(&paymentv1.AuthorizePayment{
			AmountMinor: 1, Currency: "EUR", PaymentToken: token,
		})
		require.Equal(rt, inDatabase, refusal != nil, "%q", token)
	})
}
