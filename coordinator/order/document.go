package order

import (
	"fmt"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"recourse.dev/pkg/money"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// Limits of a document. The API's schema repeats those that a schema can say.
const (
	MaxLines    = 100
	MaxQuantity = 1_000_000
	maxToken    = 255
)

// Fault is one mistake in a submitted order.
type Fault struct {
	// Pointer is the JSON pointer (RFC 6901) to the field.
	Pointer string
	// Code is stable, for example "total_mismatch".
	Code string
	// Detail says what was wrong and what to do.
	Detail string
}

// InvalidError lists everything that is wrong with a submitted order.
type InvalidError struct{ Faults []Fault }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		parts[i] = f.Pointer + ": " + f.Detail
	}
	return "invalid order: " + strings.Join(parts, "; ")
}

var (
	skuPattern    = regexp.MustCompile(`^[A-Z0-9][A-Z0-9._-]{0,63}$`)
	localePattern = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
	phonePattern  = regexp.MustCompile(`^\+[1-9][0-9]{3,14}$`)
)

// Validate checks what a shop submitted and fills in what may be left out: the
// billing address (that of shipping), the line ids and the locale. The error is
// an *InvalidError that names every fault, not only the first.
func Validate(o *orderv1.Order) error {
	c := checker{}
	c.text(o.GetShop(), 1, 64, "/shop")
	c.text(o.GetCustomerId(), 1, 64, "/customer_id")
	c.text(o.GetReference(), 1, 64, "/reference")
	if o.GetLocale() == "" {
		o.Locale = "en"
	} else if !localePattern.MatchString(o.GetLocale()) || len(o.GetLocale()) > 35 {
		c.fault("/locale", "invalid_locale", "want a BCP 47 language tag such as en or de-AT")
	}
	c.lines(o)
	c.totals(o)
	c.token(o.GetPaymentToken())
	c.address("/ship_to", o.GetShipTo())
	if o.GetShipTo().GetEmail() == "" {
		c.fault("/ship_to/email", "required", "the confirmation is sent to this address")
	}
	if o.GetBillTo() == nil {
		o.BillTo = o.GetShipTo()
	} else {
		c.address("/bill_to", o.GetBillTo())
	}
	if len(c.faults) > 0 {
		return &InvalidError{Faults: c.faults}
	}
	return nil
}

type checker struct{ faults []Fault }

func (c *checker) fault(pointer, code, format string, args ...any) {
	c.faults = append(c.faults, Fault{Pointer: pointer, Code: code, Detail: fmt.Sprintf(format, args...)})
}

// text checks the length of a text and refuses characters that no name has and
// that a log, a label or PostgreSQL would choke on. The pointer to it comes in
// pieces, which only a fault puts together.
func (c *checker) text(s string, least, most int, pointer ...string) {
	switch n := len([]rune(s)); {
	case n < least:
		c.fault(strings.Join(pointer, ""), "required", "it is empty")
	case n > most:
		c.fault(strings.Join(pointer, ""), "too_long", "%d characters are more than %d", n, most)
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			c.fault(strings.Join(pointer, ""), "invalid_text", "character %U does not belong into a text", r)
			return
		}
	}
}

func (c *checker) lines(o *orderv1.Order) {
	if n := len(o.GetLines()); n == 0 || n > MaxLines {
		c.fault("/lines", "invalid_lines", "an order has 1 to %d lines, not %d", MaxLines, n)
	}
	seen := map[string]int{}
	for i, l := range o.GetLines() {
		at := "/lines/" + strconv.Itoa(i)
		if l.GetLineId() == "" {
			l.LineId = strconv.Itoa(i + 1)
		}
		c.text(l.GetLineId(), 1, 64, at, "/line_id")
		if j, twice := seen[l.GetLineId()]; twice {
			c.fault(at+"/line_id", "duplicate_line_id", "%q is the id of line %d too", l.GetLineId(), j)
		}
		seen[l.GetLineId()] = i
		if !skuPattern.MatchString(l.GetSku()) {
			c.fault(at+"/sku", "invalid_sku",
				"want up to 64 upper-case letters, digits, '.', '_' and '-', the first one a letter or digit")
		}
		if l.GetQuantity() < 1 || l.GetQuantity() > MaxQuantity {
			c.fault(at+"/quantity", "invalid_quantity", "want 1 to %d, not %d", MaxQuantity, l.GetQuantity())
		}
		if l.GetUnitPriceMinor() < 0 {
			c.fault(at+"/unit_price_minor", "negative_amount", "a price is 0 or more, not %d", l.GetUnitPriceMinor())
		}
		c.text(l.GetName(), 0, 200, at, "/name")
	}
}

// totals checks total = sum of the lines - discount + shipping + tax.
func (c *checker) totals(o *orderv1.Order) {
	currency, err := money.ParseCurrency(o.GetCurrency())
	if err != nil {
		c.fault("/currency", "unknown_currency", "%q is no ISO 4217 currency; want one such as EUR", o.GetCurrency())
		return
	}
	for _, part := range []struct {
		pointer string
		minor   int64
	}{
		{"/shipping_minor", o.GetShippingMinor()},
		{"/tax_minor", o.GetTaxMinor()},
		{"/discount_minor", o.GetDiscountMinor()},
		{"/total_minor", o.GetTotalMinor()},
	} {
		if part.minor < 0 {
			c.fault(part.pointer, "negative_amount", "an amount is 0 or more, not %d", part.minor)
			return
		}
	}
	sum, pointer, err := total(o, currency)
	if err != nil {
		c.fault(pointer, "amount_overflow", "the order's amounts do not fit into 64 bits")
		return
	}
	if sum.Minor != o.GetTotalMinor() {
		c.fault("/total_minor", "total_mismatch", "lines - discount + shipping + tax is %d, not %d",
			sum.Minor, o.GetTotalMinor())
		return
	}
	if o.GetTotalMinor() == 0 {
		c.fault("/total_minor", "nothing_to_pay", "an order that costs nothing cannot be authorized; want 1 or more")
	}
}

// total adds the order up. The pointer says which part did not fit.
func total(o *orderv1.Order, currency money.Currency) (sum money.Money, pointer string, err error) {
	sum = money.Money{Currency: currency}
	for i, l := range o.GetLines() {
		pointer = "/lines/" + strconv.Itoa(i) + "/unit_price_minor"
		line, err := money.Money{Minor: l.GetUnitPriceMinor(), Currency: currency}.Mul(l.GetQuantity())
		if err != nil {
			return sum, pointer, err
		}
		if sum, err = sum.Add(line); err != nil {
			return sum, pointer, err
		}
	}
	if sum, err = sum.Sub(money.Money{Minor: o.GetDiscountMinor(), Currency: currency}); err != nil {
		return sum, "/discount_minor", err
	}
	if sum, err = sum.Add(money.Money{Minor: o.GetShippingMinor(), Currency: currency}); err != nil {
		return sum, "/shipping_minor", err
	}
	if sum, err = sum.Add(money.Money{Minor: o.GetTaxMinor(), Currency: currency}); err != nil {
		return sum, "/tax_minor", err
	}
	return sum, "", nil
}

// token refuses card numbers: they must never reach our disks, and a shop that
// sends one by mistake has to learn it from the first answer.
func (c *checker) token(token string) {
	const at = "/payment_token"
	c.text(token, 1, maxToken, at)
	if looksLikeCard(token) {
		// The text itself is not repeated: problem documents end in logs.
		c.fault(at, "card_number", "this looks like a card number; send the payment provider's token instead")
	}
}

// looksLikeCard says whether the text is 12 to 19 digits, however grouped, with a valid Luhn check digit.
func looksLikeCard(s string) bool {
	var digits []int
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits = append(digits, int(r-'0'))
		case r == ' ' || r == '-' || r == '.':
		default:
			return false
		}
	}
	if len(digits) < 12 || len(digits) > 19 {
		return false
	}
	sum := 0
	for i := range digits {
		d := digits[len(digits)-1-i]
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func (c *checker) address(at string, a *orderv1.Address) {
	if a == nil {
		c.fault(at, "required", "the address is missing")
		return
	}
	c.text(a.GetName(), 1, 100, at, "/name")
	if n := len(a.GetLines()); n < 1 || n > 4 {
		c.fault(at+"/lines", "invalid_address", "an address has 1 to 4 lines, not %d", n)
	}
	for i, l := range a.GetLines() {
		c.text(l, 1, 100, at, "/lines/", strconv.Itoa(i))
	}
	c.text(a.GetCity(), 1, 100, at, "/city")
	c.text(a.GetRegion(), 0, 100, at, "/region")
	c.text(a.GetPostalCode(), 0, 20, at, "/postal_code")
	if !countries[a.GetCountry()] {
		c.fault(at+"/country", "unknown_country", "%q is no ISO 3166-1 alpha-2 code; want one such as DE", a.GetCountry())
	}
	if p := a.GetPhone(); p != "" && !phonePattern.MatchString(p) {
		c.fault(at+"/phone", "invalid_phone", "want E.164 such as +4930123456")
	}
	if e := a.GetEmail(); e != "" && !plausibleEmail(e) {
		c.fault(at+"/email", "invalid_email", "%q does not look like an e-mail address", e)
	}
}

// plausibleEmail takes one bare address with a dotted or local domain; only a mail that arrives proves more.
func plausibleEmail(s string) bool {
	if len(s) > 254 {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && !strings.ContainsAny(s, " \t\r\n")
}
