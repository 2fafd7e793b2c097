package shipping_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/shipping"
)

func parcel(reference string) shipping.Parcel {
	return shipping.Parcel{
		Reference: reference, Name: "Ada", Street1: "1 Road", City: "London", Zip: "SW1Y", Country: "GB", WeightG: 500,
	}
}

func TestHTTPCarrier_whole_life(t *testing.T) {
	t.Parallel()
	c, ctx := newFakeCarrier(t).carrier(t, 5*time.Second), t.Context()

	require.Equal(t, shipping.NotFound{}, c.Find(ctx, "ref-1"))
	made, ok := c.Create(ctx, parcel("ref-1")).(shipping.Succeeded)
	require.True(t, ok)
	require.Equal(t, shipping.Booking{Ref: "shp_1", RateID: "rate_shp_1"}, made.Booking)
	require.Equal(t, made, c.Find(ctx, "ref-1"))
	require.Equal(t, made, c.Get(ctx, "shp_1"))

	refused, ok := c.Void(ctx, "shp_1").(shipping.Refused)
	require.True(t, ok, "there is nothing to void")
	require.Equal(t, shipping.WrongState, refused.Class)

	bought, ok := c.Buy(ctx, made.Booking).(shipping.Succeeded)
	require.True(t, ok)
	require.Equal(t, "SIM1", bought.Booking.Label.Tracking)
	require.Equal(t, "Simpost", bought.Booking.Label.Carrier)
	require.Equal(t, "4.90 EUR", bought.Booking.Label.Cost.String())
	require.Equal(t, bought, c.Buy(ctx, made.Booking), "a second purchase finds the first")

	voided, ok := c.Void(ctx, "shp_1").(shipping.Succeeded)
	require.True(t, ok)
	require.Equal(t, shipping.VoidRefunded, voided.Booking.Void)
	require.Equal(t, voided, c.Void(ctx, "shp_1"), "a second refund finds the first")
	require.Equal(t, shipping.NotFound{}, c.Get(ctx, "shp_2"))
}

func TestHTTPCarrier_Find_prefers_the_label(t *testing.T) {
	t.Parallel()
	c, ctx := newFakeCarrier(t).carrier(t, 5*time.Second), t.Context()
	for range 3 {
		c.Create(ctx, parcel("ref-1"))
	}
	require.Equal(t, "shp_1", c.Find(ctx, "ref-1").(shipping.Succeeded).Booking.Ref, "else the oldest")
	c.Buy(ctx, shipping.Booking{Ref: "shp_2", RateID: "rate_shp_2"})
	require.Equal(t, "shp_2", c.Find(ctx, "ref-1").(shipping.Succeeded).Booking.Ref)
}

// Only a coded refusal is a refusal; whatever else comes back leaves the outcome open.
func TestHTTPCarrier_answers(t *testing.T) {
	t.Parallel()
	const label = `{"id":"shp_1","reference":"r","rates":[{"id":"rate_1"}],"tracking_code":"T",` +
		`"postage_label":{"id":"pl"},`
	tests := []struct {
		name   string
		status int
		body   string
		want   shipping.Outcome
	}{
		{
			"refused", 422, `{"error":{"code":"weight_limit","message":"too heavy"}}`,
			shipping.Refused{Class: shipping.Declined, Code: "weight_limit", Detail: "HTTP 422 weight_limit: too heavy"},
		},
		{
			"our mistake", 422, `{"error":{"code":"invalid_params","message":"m","errors":[{"field":"f","message":"w"}]}}`,
			shipping.Refused{Class: shipping.Invalid, Code: "carrier_refused", Detail: "HTTP 422 invalid_params: m; f: w"},
		},
		{"refusal of another status", 500, `{"error":{"code":"weight_limit"}}`, shipping.Unknown{}},
		{"unheard-of code", 422, `{"error":{"code":"moon_phase"}}`, shipping.Unknown{}},
		{"wrong key", 401, `{"error":{"code":"unauthorized"}}`, shipping.Unknown{}},
		{"rate limit", 429, `{"error":{"code":"rate_limited"}}`, shipping.Unknown{}},
		{"server error", 500, `{"error":{"code":"internal_error"}}`, shipping.Unknown{}},
		{"proxy's page", 502, `<html>`, shipping.Unknown{}},
		{"redirect", 302, ``, shipping.Unknown{}},
		{"not JSON", 200, `OK`, shipping.Unknown{}},
		{"empty object", 200, `{}`, shipping.Unknown{}},
		{"cut off", 200, `{"id":"shp_1"`, shipping.Unknown{}},
		{"label without price", 200, label + `"selected_rate":null}`, shipping.Unknown{}},
		{"price of no currency", 200, label + `"selected_rate":{"rate":"1.00","currency":"XXY"}}`, shipping.Unknown{}},
		{"price of no number", 200, label + `"selected_rate":{"rate":"1,00","currency":"EUR"}}`, shipping.Unknown{}},
		{"refund of no meaning", 200, `{"id":"shp_1","refund_status":"perhaps"}`, shipping.Unknown{}},
		{
			"no rate", 200, `{"id":"shp_1","rates":[]}`,
			shipping.Succeeded{Booking: shipping.Booking{Ref: "shp_1"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			t.Cleanup(server.Close)
			c, err := shipping.NewHTTPCarrier(server.URL, "", time.Second, 1)
			require.NoError(t, err)
			t.Cleanup(c.Close)
			got := c.Create(t.Context(), parcel("r"))
			if unknown, ok := got.(shipping.Unknown); ok {
				require.NotEmpty(t, unknown.Detail)
				require.False(t, unknown.NotSent)
				got = shipping.Unknown{}
			}
			require.Equal(t, tt.want, got)
			if _, refused := tt.want.(shipping.Refused); refused {
				require.IsType(t, shipping.Unknown{}, c.Get(t.Context(), "shp_1"), "a question cannot refuse a label")
				require.IsType(t, shipping.Unknown{}, c.Find(t.Context(), "r"))
			}
		})
	}
}

func TestHTTPCarrier_Void_pending(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]shipping.Outcome{
		"submitted": shipping.Unknown{},
		"rejected":  shipping.Refused{},
		"refunded":  shipping.Succeeded{},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"id":"shp_1","refund_status":"` + status + `"}`))
		}))
		t.Cleanup(server.Close)
		c, err := shipping.NewHTTPCarrier(server.URL, "", time.Second, 1)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		require.IsType(t, want, c.Void(t.Context(), "shp_1"), status)
	}
}

func TestHTTPCarrier_nobody_there(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	c, err := shipping.NewHTTPCarrier("http://"+addr, "", time.Second, 1)
	require.NoError(t, err)
	unknown, ok := c.Create(t.Context(), parcel("r")).(shipping.Unknown)
	require.True(t, ok)
	require.True(t, unknown.NotSent)
}

func TestNewHTTPCarrier_refuses(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "carrier", "ftp://carrier", "http://", ":"} {
		_, err := shipping.NewHTTPCarrier(base, "", time.Second, 1)
		require.ErrorContains(t, err, "CARRIER_URL", base)
	}
}
