package carriersim_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/carriersim"
)

// FuzzCarrier sends any body to every call that takes one, and any query to the list: the answer is always JSON and
// never a breakdown.
func FuzzCarrier(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `[]`, "\xff", `{"rate": {"id": "rate_1"}}`, `{"rate": null}`, `{"parcel": {"weight": 1e308}}`,
		`{"reference": "r", "to_address": {"name": "Ada", "street1": "1 Road", "city": "London", "zip": "SW1Y", "country": "GB"},
		"parcel": {"weight": 17.6}, "items": [{"sku": "SKU-1", "quantity": 1}]}`,
		`{"to_address": {"zip": "\u0000", "country": "AQ"}, "parcel": {"weight": -1}, "items": [{"quantity": -1}]}`,
	} {
		f.Add(seed, "reference=r&page_size=1")
	}
	f.Add("", "page_size=101&before_id=%00")
	f.Add("", "%zz=;&x")
	server, err := carriersim.New(carriersim.Config{}, slog.New(slog.DiscardHandler))
	require.NoError(f, err)
	handler := server.Handler()
	call := func(method, path, query, body string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(method, "/", strings.NewReader(body))
		request.URL = &url.URL{Path: path, RawQuery: query}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		return recorder
	}
	created := call(http.MethodPost, "/v1/shipments", "", `{"reference": "r", "to_address": {"name": "Ada",
		"street1": "1 Road", "city": "London", "zip": "SW1Y", "country": "GB"}, "parcel": {"weight": 17.6}}`)
	var shipment struct {
		ID string `json:"id"`
	}
	require.NoError(f, json.Unmarshal(created.Body.Bytes(), &shipment), created.Body)
	require.NotEmpty(f, shipment.ID, created.Body)
	f.Fuzz(func(t *testing.T, body, query string) {
		for _, trouble := range []string{"LOST", "LATE", "SLOW", "500"} {
			if strings.Contains(strings.ToUpper(body), trouble) {
				t.Skip("an address that asks for trouble")
			}
		}
		for _, request := range [][2]string{
			{http.MethodPost, "/v1/shipments"},
			{http.MethodPost, "/v1/shipments/" + shipment.ID + "/buy"},
			{http.MethodPost, "/v1/shipments/" + shipment.ID + "/refund"},
			{http.MethodGet, "/v1/shipments"},
		} {
			answer := call(request[0], request[1], query, body)
			require.Less(t, answer.Code, http.StatusInternalServerError, "%v %s", request, answer.Body)
			require.True(t, json.Valid(answer.Body.Bytes()), "%v %s", request, answer.Body)
		}
	})
}
