package money

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrUnknownCurrency says that a code is not an active ISO 4217 currency.
var ErrUnknownCurrency = errors.New("unknown currency")

// Currency is an ISO 4217 alphabetic code in upper case.
type Currency string

// ParseCurrency accepts an active ISO 4217 code, in upper case only: two spellings of one currency would not compare
// equal.
func ParseCurrency(code string) (Currency, error) {
	c := Currency(code)
	if !c.Valid() {
		return "", fmt.Errorf("%w %q: want an ISO 4217 code such as EUR", ErrUnknownCurrency, code)
	}
	return c, nil
}

// Currencies lists every known currency, sorted by code.
func Currencies() []Currency {
	return slices.Sorted(maps.Keys(exponents))
}

// Valid reports whether the code is an active ISO 4217 currency.
func (c Currency) Valid() bool {
	_, ok := exponents[c]
	return ok
}

// Exponent is the number of decimals between the currency and its minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
// An unknown currency has none.
func (c Currency) Exponent() int {
	return exponents[c]
}

// codes is the ISO 4217 list of active codes by exponent. Codes without a minor unit (metals, XDR, XTS, XXX and the
// like) are left out: nobody pays with them.
var codes = map[int]string{
	0: `BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF`,
	2: `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
	    CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
	    IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
	    MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP
	    SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG
	    YER ZAR ZMW ZWG`,
	3: `BHD IQD JOD KWD LYD OMR TND`,
	4: `CLF UYW`,
}

var exponents = func() map[Currency]int {
	table := make(map[Currency]int, 180)
	for exponent, list := range codes {
		for code := range strings.FieldsSeq(list) {
			table[Currency(code)] = exponent
		}
	}
	return table
}()
