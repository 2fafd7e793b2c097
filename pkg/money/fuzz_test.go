package money_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/money"
)

// FuzzArithmetic compares sums and products with those of numbers without bounds: a result is right or refused.
func FuzzArithmetic(f *testing.F) {
	f.Add(int64(1999), int64(3), "EUR", "EUR")
	f.Add(int64(math.MaxInt64), int64(1), "JPY", "JPY")
	f.Add(int64(math.MinInt64), int64(-1), "KWD", "KWD")
	f.Add(int64(1), int64(1), "EUR", "USD")
	f.Fuzz(func(t *testing.T, a, b int64, codeA, codeB string) {
		currencyA, errA := money.ParseCurrency(codeA)
		currencyB, errB := money.ParseCurrency(codeB)
		if errA != nil || errB != nil {
			t.Skip("no currencies")
		}
		x, y := must(t, a, currencyA), must(t, b, currencyB)
		check := func(got money.Money, err error, want *big.Int) {
			t.Helper()
			if err != nil {
				require.True(t, !want.IsInt64() || currencyA != currencyB, "refused although it fits: %v", err)
				return
			}
			require.Equal(t, want.String(), big.NewInt(got.Minor).String())
			require.Equal(t, currencyA, got.Currency)
		}
		bigA, bigB := big.NewInt(a), big.NewInt(b)
		sum, err := x.Add(y)
		check(sum, err, new(big.Int).Add(bigA, bigB))
		difference, err := x.Sub(y)
		check(difference, err, new(big.Int).Sub(bigA, bigB))
		product, err := x.Mul(b)
		if currencyA == currencyB {
			check(product, err, new(big.Int).Mul(bigA, bigB))
		}
	})
}

func must(t *testing.T, minor int64, currency money.Currency) money.Money {
	t.Helper()
	m, err := money.New(minor, currency)
	require.NoError(t, err)
	return m
}
