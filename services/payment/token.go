package payment

import (
	"fmt"
	"strings"
	"unicode"

	"recourse.dev/pkg/money"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
)

// maxTokenLength bounds a payment token; providers' own are far shorter.
const maxTokenLength = 255

// CheckAuthorize refuses what no provider should be asked for. The detail never repeats the token: it may be a card
// number.
func CheckAuthorize(in *paymentv1.AuthorizePayment) *Refusal {
	token := in.GetPaymentToken()
	switch {
	case in.GetAmountMinor() <= 0:
		return &Refusal{CodeInvalidAmount, fmt.Sprintf("the amount is %d; it must be more than 0", in.GetAmountMinor())}
	case !money.Currency(in.GetCurrency()).Valid():
		return &Refusal{CodeInvalidAmount, fmt.Sprintf("%q is no ISO 4217 currency", in.GetCurrency())}
	case token == "":
		return &Refusal{CodeInvalidPaymentMethod, "the payment token is empty"}
	case len(token) > maxTokenLength || printable(token) != token:
		return &Refusal{CodeInvalidPaymentMethod, "the payment token is too long or holds control characters"}
	case looksLikeCardNumber(token):
		return &Refusal{CodeInvalidPaymentMethod, "the payment token looks like a card number; send the provider's token"}
	}
	return nil
}

// looksLikeCardNumber is true for 13 to 19 digits, spaces and dashes aside, that pass the Luhn check. The database has
// the same function in a CHECK, for whatever comes in by another way.
func looksLikeCardNumber(token string) bool {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(token)
	if len(digits) < 13 || len(digits) > 19 {
		return false
	}
	sum := 0
	for i := range len(digits) {
		digit := int(digits[len(digits)-1-i] - '0')
		switch {
		case digit < 0 || digit > 9:
			return false
		case i%2 == 0:
			sum += digit
		case digit > 4:
			sum += 2*digit - 9
		default:
			sum += 2 * digit
		}
	}
	return sum%10 == 0
}

// printable replaces control characters, NUL among them, which PostgreSQL cannot store.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
