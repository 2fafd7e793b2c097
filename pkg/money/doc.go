// Package money holds amounts as whole minor units (cents, yen, fils) of an ISO 4217 currency.
//
// There are no floats and no rounding: an amount is an int64 and a currency, sums are checked for overflow and for
// one currency, and text is exact in both ways ("19.99 EUR", "1999 JPY", "1.250 KWD"). How many decimals a currency
// has is its Exponent; a payment provider may count differently for a few of them, which is its adapter's business.
package money
