package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how far the time of a webhook may be from the receiver's clock.
const Tolerance = 5 * time.Minute

const (
	// scheme names HMAC-SHA256; signatures of other schemes are passed over.
	scheme = "v1"
	// maxID bounds the id, which becomes part of a key.
	maxID = 255
	// maxSignatures bounds the work that a stranger can cause.
	maxSignatures = 10
)

// Why a message is not believed. None of them says more to a stranger than he knows already.
var (
	// ErrUnsigned: a header is missing or has not its form.
	ErrUnsigned = errors.New("the webhook is not signed")
	// ErrStale: signed too long ago, or in the future.
	ErrStale = errors.New("the webhook's time is too far from ours")
	// ErrForged: no key of ours made any of the signatures.
	ErrForged = errors.New("the webhook's signature is not right")
)

// Sign writes the headers of a message. With several keys it is signed with each.
func Sign(header http.Header, keys []Key, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, key := range keys {
		signatures[i] = scheme + "," + base64.StdEncoding.EncodeToString(key.mac(id, timestamp, body))
	}
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, timestamp)
	header.Set(HeaderSignature, strings.Join(signatures, " "))
}

// Verify returns the id of a message that was signed with one of the keys, at most Tolerance from now. Otherwise the
// error is ErrUnsigned, ErrStale or ErrForged.
func Verify(header http.Header, keys []Key, body []byte, now time.Time) (string, error) {
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	if id == "" || len(id) > maxID || !printable(id) {
		return "", fmt.Errorf("%w: %s wants 1 to %d characters", ErrUnsigned, HeaderID, maxID)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%w: %s wants seconds since 1970", ErrUnsigned, HeaderTimestamp)
	}
	signatures := strings.Fields(header.Get(HeaderSignature))
	if len(signatures) == 0 || len(signatures) > maxSignatures {
		return "", fmt.Errorf("%w: %s wants 1 to %d signatures", ErrUnsigned, HeaderSignature, maxSignatures)
	}
	if !signed(keys, signatures, id, timestamp, body) {
		return "", ErrForged
	}
	// Only now: to whom the signature is not known the clock is not told either.
	if age := now.Sub(time.Unix(seconds, 0)); age > Tolerance || age < -Tolerance {
		return "", fmt.Errorf("%w: it is %s old", ErrStale, age.Round(time.Second))
	}
	return id, nil
}

// signed compares every signature with every key, in constant time each.
func signed(keys []Key, signatures []string, id, timestamp string, body []byte) bool {
	found := false
	for _, key := range keys {
		want := key.mac(id, timestamp, body)
		for _, signature := range signatures {
			text, ok := strings.CutPrefix(signature, scheme+",")
			if !ok {
				continue
			}
			given, err := base64.StdEncoding.DecodeString(text)
			if err == nil && hmac.Equal(given, want) {
				found = true
			}
		}
	}
	return found
}

func (k Key) mac(id, timestamp string, body []byte) []byte {
	hash := hmac.New(sha256.New, k.secret)
	hash.Write([]byte(id + "." + timestamp + "."))
	hash.Write(body)
	return hash.Sum(nil)
}

// printable keeps an id to what a column, a header and a log can hold.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
