package money

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

var (
	// ErrOverflow says that a result does not fit an int64 of minor units.
	ErrOverflow = errors.New("amount overflows")
	// ErrCurrencyMismatch says that two amounts of different currencies were combined.
	ErrCurrencyMismatch = errors.New("currencies differ")
	// ErrBadAmount says that a text is not an amount of its currency.
	ErrBadAmount = errors.New("bad amount")
)

// Money is an amount in minor units of a currency. It is comparable; equal amounts of equal currencies are ==.
type Money struct {
	Minor    int64
	Currency Currency
}

// New is the amount of minor units of a known currency.
func New(minor int64, currency Currency) (Money, error) {
	if !currency.Valid() {
		return Money{}, fmt.Errorf("%w %q", ErrUnknownCurrency, string(currency))
	}
	return Money{Minor: minor, Currency: currency}, nil
}

// Parse reads what String writes: "19.99 EUR".
func Parse(text string) (Money, error) {
	amount, code, ok := strings.Cut(text, " ")
	if !ok {
		return Money{}, fmt.Errorf("%w %q: want an amount and a currency, such as 19.99 EUR", ErrBadAmount, text)
	}
	currency, err := ParseCurrency(code)
	if err != nil {
		return Money{}, err
	}
	return ParseAmount(amount, currency)
}

// ParseAmount reads a decimal amount ("19.99") of a currency. It takes at most as many decimals as the currency has:
// an amount is never rounded.
func ParseAmount(amount string, currency Currency) (Money, error) {
	if !currency.Valid() {
		return Money{}, fmt.Errorf("%w %q", ErrUnknownCurrency, string(currency))
	}
	whole, fraction, dotted := strings.Cut(amount, ".")
	digits := strings.TrimPrefix(whole, "-")
	exponent := currency.Exponent()
	if !isDigits(digits) || dotted && !isDigits(fraction) || len(fraction) > exponent {
		return Money{}, fmt.Errorf("%w %q: want digits with at most %d decimals for %s",
			ErrBadAmount, amount, exponent, currency)
	}
	minor, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", exponent-len(fraction)), 10, 64)
	if err != nil {
		return Money{}, fmt.Errorf("parsing %q: %w", amount, ErrOverflow)
	}
	return Money{Minor: minor, Currency: currency}, nil
}

// Add is m + other.
func (m Money) Add(other Money) (Money, error) {
	if m.Currency != other.Currency {
		return Money{}, fmt.Errorf("adding %s to %s: %w", other, m, ErrCurrencyMismatch)
	}
	sum := m.Minor + other.Minor
	// A sum overflows exactly when both operands have the sign that the result has not.
	if (m.Minor^sum)&(other.Minor^sum) < 0 {
		return Money{}, fmt.Errorf("adding %s to %s: %w", other, m, ErrOverflow)
	}
	return Money{Minor: sum, Currency: m.Currency}, nil
}

// Sub is m - other.
func (m Money) Sub(other Money) (Money, error) {
	if m.Currency != other.Currency {
		return Money{}, fmt.Errorf("subtracting %s from %s: %w", other, m, ErrCurrencyMismatch)
	}
	difference := m.Minor - other.Minor
	if (m.Minor^other.Minor)&(m.Minor^difference) < 0 {
		return Money{}, fmt.Errorf("subtracting %s from %s: %w", other, m, ErrOverflow)
	}
	return Money{Minor: difference, Currency: m.Currency}, nil
}

// Mul is m times a quantity.
func (m Money) Mul(quantity int64) (Money, error) {
	if m.Minor == 0 || quantity == 0 {
		return Money{Currency: m.Currency}, nil
	}
	product := m.Minor * quantity
	// MinInt64 * -1 wraps to itself and passes the division check, so it is asked for by name.
	if product/quantity != m.Minor || m.Minor == -1 && quantity == math.MinInt64 ||
		quantity == -1 && m.Minor == math.MinInt64 {
		return Money{}, fmt.Errorf("multiplying %s by %d: %w", m, quantity, ErrOverflow)
	}
	return Money{Minor: product, Currency: m.Currency}, nil
}

// IsZero reports whether the amount is nothing, of whatever currency.
func (m Money) IsZero() bool {
	return m.Minor == 0
}

// Amount is the decimal text without the currency: "19.99".
func (m Money) Amount() string {
	exponent := m.Currency.Exponent()
	digits := strconv.FormatInt(m.Minor, 10)
	sign := ""
	if m.Minor < 0 {
		sign, digits = "-", digits[1:]
	}
	if exponent == 0 {
		return sign + digits
	}
	if missing := exponent + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - exponent
	return sign + digits[:point] + "." + digits[point:]
}

// String is the amount and its currency: "19.99 EUR".
func (m Money) String() string {
	return m.Amount() + " " + string(m.Currency)
}

func isDigits(text string) bool {
	if text == "" {
		return false
	}
	for _, r := range text {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}
