package money_test

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"recourse.dev/pkg/money"
)

func TestParseCurrency(t *testing.T) {
	t.Parallel()

	for _, code := range []string{"EUR", "JPY", "KWD", "CLF", "XCG"} {
		currency, err := money.ParseCurrency(code)
		require.NoError(t, err)
		require.Equal(t, money.Currency(code), currency)
	}
	for _, code := range []string{"", "eur", "EU", "EURO", "XXX", "XAU", "DEM", " EUR"} {
		_, err := money.ParseCurrency(code)
		require.ErrorIs(t, err, money.ErrUnknownCurrency, code)
	}
}

func TestCurrency_Exponent(t *testing.T) {
	t.Parallel()

	count := map[int]int{}
	for _, currency := range money.Currencies() {
		require.Len(t, string(currency), 3)
		count[currency.Exponent()]++
	}
	require.Equal(t, map[int]int{0: 17, 2: 139, 3: 7, 4: 2}, count)
	require.Equal(t, 0, money.Currency("JPY").Exponent())
	require.Equal(t, 2, money.Currency("EUR").Exponent())
	require.Equal(t, 3, money.Currency("KWD").Exponent())
	require.Equal(t, 4, money.Currency("UYW").Exponent())
}

func TestMoney_String(t *testing.T) {
	t.Parallel()

	cases := []struct {
		name  string
		money money.Money
		want  string
	}{
		{"two decimals", money.Money{Minor: 1999, Currency: "EUR"}, "19.99 EUR"},
		{"less than one", money.Money{Minor: 5, Currency: "EUR"}, "0.05 EUR"},
		{"zero", money.Money{Currency: "EUR"}, "0.00 EUR"},
		{"negative", money.Money{Minor: -5, Currency: "EUR"}, "-0.05 EUR"},
		{"no decimals", money.Money{Minor: 1999, Currency: "JPY"}, "1999 JPY"},
		{"three decimals", money.Money{Minor: 1250, Currency: "KWD"}, "1.250 KWD"},
		{"four decimals", money.Money{Minor: 1, Currency: "CLF"}, "0.0001 CLF"},
		{"smallest", money.Money{Minor: math.MinInt64, Currency: "USD"}, "-92233720368547758.08 USD"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.money.String())
			parsed, err := money.Parse(tc.want)
			require.NoError(t, err)
			require.Equal(t, tc.money, parsed)
		})
	}
}

func TestParse_refuses(t *testing.T) {
	t.Parallel()

	cases := []struct {
		name, text string
		want       error
	}{
		{"no currency", "19.99", money.ErrBadAmount},
		{"unknown currency", "19.99 ABC", money.ErrUnknownCurrency},
		{"too many decimals", "19.999 EUR", money.ErrBadAmount},
		{"decimals of a currency without", "19.9 JPY", money.ErrBadAmount},
		{"point without decimals", "19. EUR", money.ErrBadAmount},
		{"no whole part", ".99 EUR", money.ErrBadAmount},
		{"plus sign", "+1.00 EUR", money.ErrBadAmount},
		{"sign in the middle", "1.-1 EUR", money.ErrBadAmount},
		{"exponent", "1e3 EUR", money.ErrBadAmount},
		{"two spaces", "1.00  EUR", money.ErrUnknownCurrency},
		{"too large", "92233720368547758.08 EUR", money.ErrOverflow},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := money.Parse(tc.text)
			require.ErrorIs(t, err, tc.want)
		})
	}
}

func TestMoney_refuses_to_mix_currencies(t *testing.T) {
	t.Parallel()

	euro, yen := money.Money{Minor: 1, Currency: "EUR"}, money.Money{Minor: 1, Currency: "JPY"}
	_, err := euro.Add(yen)
	require.ErrorIs(t, err, money.ErrCurrencyMismatch)
	_, err = euro.Sub(yen)
	require.ErrorIs(t, err, money.ErrCurrencyMismatch)
	_, err = money.New(1, "eur")
	require.ErrorIs(t, err, money.ErrUnknownCurrency)
}

// TestMoney_arithmetic compares with big integers: either the result is exact or the overflow is told.
func TestMoney_arithmetic(t *testing.T) {
	t.Parallel()

	operand := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{
		0, 1, -1, 2, math.MaxInt64, math.MinInt64, math.MaxInt64/2 + 1, math.MinInt64 / 2,
	}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := operand.Draw(t, "a"), operand.Draw(t, "b")
		left, right := money.Money{Minor: a, Currency: "EUR"}, money.Money{Minor: b, Currency: "EUR"}
		bigA, bigB := big.NewInt(a), big.NewInt(b)

		check := func(name string, want *big.Int, got money.Money, err error) {
			if want.IsInt64() {
				require.NoError(t, err, name)
				require.Equal(t, money.Money{Minor: want.Int64(), Currency: "EUR"}, got, name)
				return
			}
			require.ErrorIs(t, err, money.ErrOverflow, name)
		}
		got, err := left.Add(right)
		check("add", new(big.Int).Add(bigA, bigB), got, err)
		got, err = left.Sub(right)
		check("sub", new(big.Int).Sub(bigA, bigB), got, err)
		got, err = left.Mul(b)
		check("mul", new(big.Int).Mul(bigA, bigB), got, err)
	})
}

// TestMoney_text is the round trip over every currency.
func TestMoney_text(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		want, err := money.New(rapid.Int64().Draw(t, "minor"), rapid.SampledFrom(money.Currencies()).Draw(t, "currency"))
		require.NoError(t, err)
		got, err := money.Parse(want.String())
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"19.99 EUR", "-0.05 EUR", "1999 JPY", "1.250 KWD", "", " ", "1..2 EUR"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := money.Parse(text)
		if err != nil {
			return
		}
		again, err := money.Parse(parsed.String())
		require.NoError(t, err)
		require.Equal(t, parsed, again)
	})
}

func ExampleMoney_Mul() {
	price, _ := money.Parse("19.99 EUR")
	total, _ := price.Mul(3)
	fmt.Println(total)
	// Output: 59.97 EUR
}
