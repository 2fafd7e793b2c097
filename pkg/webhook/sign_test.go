package webhook_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/service"
	"recourse.dev/pkg/webhook"
)

const (
	oldSecret service.Secret = "whsec_b2xkIHNlY3JldCBvZiBhIHdlYmhvb2sgdGVzdA=="
	newSecret service.Secret = "whsec_bmV3IHNlY3JldCBvZiBhIHdlYmhvb2sgdGVzdA=="
)

func mustKeys(t testing.TB, secrets ...service.Secret) []webhook.Key {
	t.Helper()
	keys, err := webhook.ParseKeys(secrets...)
	require.NoError(t, err)
	return keys
}

func ExampleVerify() {
	keys, _ := webhook.ParseKeys("whsec_YSBzZWNyZXQgdGhhdCBib3RoIGVuZHMga25vdw==")
	now := time.Unix(1790000000, 0)
	header := http.Header{}
	webhook.Sign(header, keys, "evt_1", now, []byte(`{"type":"payment_intent.succeeded"}`))

	id, err := webhook.Verify(header, keys, []byte(`{"type":"payment_intent.succeeded"}`), now)
	fmt.Println(id, err)
	_, err = webhook.Verify(header, keys, []byte(`{"type":"payment_intent.canceled"}`), now)
	fmt.Println(err)
	// Output:
	// evt_1 <nil>
	// the webhook's signature is not right
}

// The vector of the Standard Webhooks specification's own libraries.
func TestSign_as_the_standard_says(t *testing.T) {
	t.Parallel()
	header := http.Header{}
	webhook.Sign(header, mustKeys(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "msg_p5jXN8AQM9LWM0D4loKWxJek",
		time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", header.Get(webhook.HeaderSignature))
}

func TestVerify_refuses(t *testing.T) {
	t.Parallel()
	keys, now, body := mustKeys(t, newSecret), time.Unix(1790000000, 0), []byte(`{"a":1}`)
	for _, test := range []struct {
		name   string
		change func(http.Header)
		at     time.Time
		want   error
	}{
		{"nothing", func(http.Header) {}, now, nil},
		{"no id", func(h http.Header) { h.Del(webhook.HeaderID) }, now, webhook.ErrUnsigned},
		{"a long id", func(h http.Header) { h.Set(webhook.HeaderID, strings.Repeat("a", 256)) }, now, webhook.ErrUnsigned},
		{"another id", func(h http.Header) { h.Set(webhook.HeaderID, "evt_2") }, now, webhook.ErrForged},
		{"no time", func(h http.Header) { h.Del(webhook.HeaderTimestamp) }, now, webhook.ErrUnsigned},
		{"another time", func(h http.Header) { h.Set(webhook.HeaderTimestamp, "1790000001") }, now, webhook.ErrForged},
		{"no signature", func(h http.Header) { h.Del(webhook.HeaderSignature) }, now, webhook.ErrUnsigned},
		{"another scheme", func(h http.Header) {
			h.Set(webhook.HeaderSignature, "v0"+h.Get(webhook.HeaderSignature)[2:])
		}, now, webhook.ErrForged},
		{"no base64", func(h http.Header) { h.Set(webhook.HeaderSignature, "v1,!") }, now, webhook.ErrForged},
		{"many signatures", func(h http.Header) {
			h.Set(webhook.HeaderSignature, strings.Repeat("v1,AA== ", 11))
		}, now, webhook.ErrUnsigned},
		{"just in time", func(http.Header) {}, now.Add(webhook.Tolerance), nil},
		{"old", func(http.Header) {}, now.Add(webhook.Tolerance + time.Second), webhook.ErrStale},
		{"of the future", func(http.Header) {}, now.Add(-webhook.Tolerance - time.Second), webhook.ErrStale},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			webhook.Sign(header, keys, "evt_1", now, body)
			test.change(header)
			_, err := webhook.Verify(header, keys, body, test.at)
			require.ErrorIs(t, err, test.want)
		})
	}
	_, err := webhook.Verify(http.Header{}, nil, body, now)
	require.ErrorIs(t, err, webhook.ErrUnsigned)
}

func TestVerify_every_bit_counts(t *testing.T) {
	t.Parallel()
	keys, now := mustKeys(t, newSecret), time.Unix(1790000000, 0)
	body := []byte(`{"id":"evt_1"}`)
	header := http.Header{}
	webhook.Sign(header, keys, "evt_1", now, body)
	for i := range len(body) * 8 {
		body[i/8] ^= 1 << (i % 8)
		_, err := webhook.Verify(header, keys, body, now)
		require.ErrorIs(t, err, webhook.ErrForged, "bit %d of the body", i)
		body[i/8] ^= 1 << (i % 8)
	}
	signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header.Get(webhook.HeaderSignature), "v1,"))
	require.NoError(t, err)
	for i := range len(signature) * 8 {
		signature[i/8] ^= 1 << (i % 8)
		header.Set(webhook.HeaderSignature, "v1,"+base64.StdEncoding.EncodeToString(signature))
		_, err := webhook.Verify(header, keys, body, now)
		require.ErrorIs(t, err, webhook.ErrForged, "bit %d of the signature", i)
		signature[i/8] ^= 1 << (i % 8)
	}
}

func TestVerify_rotation(t *testing.T) {
	t.Parallel()
	now, body := time.Unix(1790000000, 0), []byte(`{}`)
	for _, test := range []struct {
		name         string
		sends, knows []service.Secret
		want         error
	}{
		{"the receiver first", []service.Secret{oldSecret}, []service.Secret{newSecret, oldSecret}, nil},
		{"both in between", []service.Secret{newSecret, oldSecret}, []service.Secret{newSecret, oldSecret}, nil},
		{"the sender first", []service.Secret{newSecret, oldSecret}, []service.Secret{oldSecret}, nil},
		{"the old one is gone", []service.Secret{oldSecret}, []service.Secret{newSecret}, webhook.ErrForged},
		{"none is known", []service.Secret{newSecret}, nil, webhook.ErrForged},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			webhook.Sign(header, mustKeys(t, test.sends...), "evt_1", now, body)
			_, err := webhook.Verify(header, mustKeys(t, test.knows...), body, now)
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestParseKey_refuses(t *testing.T) {
	t.Parallel()
	for _, text := range []service.Secret{"", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_!"} {
		_, err := webhook.ParseKey(text)
		require.Error(t, err, text.Reveal())
	}
	_, err := webhook.ParseKeys(newSecret, "", "whsec_!")
	require.Error(t, err)
	require.Equal(t, "[***]", fmt.Sprint(mustKeys(t, newSecret)))
}

func TestPost(t *testing.T) {
	t.Parallel()
	keys, answer := mustKeys(t, newSecret), http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if _, failed := webhook.Verify(r.Header, keys, body, time.Now()); err != nil || failed != nil {
			answer = http.StatusUnauthorized
		}
		w.WriteHeader(answer)
	}))
	defer server.Close()
	require.NoError(t, webhook.Post(t.Context(), server.Client(), server.URL, keys, "evt_1", []byte("{}")))
	answer = http.StatusBadGateway
	err := webhook.Post(t.Context(), server.Client(), server.URL, keys, "evt_1", []byte("{}"))
	require.ErrorContains(t, err, strconv.Itoa(answer))
	require.Error(t, webhook.Post(t.Context(), server.Client(), "http://127.0.0.1:1", keys, "evt_1", nil))
	require.Error(t, webhook.Post(t.Context(), server.Client(), ":", keys, "evt_1", nil))
}

// Whatever a stranger sends, it is refused and nothing falls over; what was signed passes, whatever it holds.
func FuzzVerify(f *testing.F) {
	f.Add("evt_1", "1790000000", "v1,AAAA", []byte(`{}`))
	f.Add("", "", "", []byte{})
	f.Add("evt_1", "99999999999999999999", "v1, v1 v1,", []byte("x"))
	f.Add("evt 1", "-9223372036854775808", "v2,x v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", []byte{0})
	f.Add("evt_1.179", "+1", strings.Repeat("v1,a ", 12), []byte("0000.{}"))
	keys := mustKeys(f, newSecret, oldSecret)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		header := http.Header{}
		header.Set(webhook.HeaderID, id)
		header.Set(webhook.HeaderTimestamp, timestamp)
		header.Set(webhook.HeaderSignature, signature)
		_, err := webhook.Verify(header, keys, body, time.Unix(1790000000, 0))
		require.Error(t, err)

		webhook.Sign(header, keys[:1], "evt_1", time.Unix(1790000000, 0), body)
		_, err = webhook.Verify(header, keys, body, time.Unix(1790000000, 0))
		require.NoError(t, err)
	})
}
