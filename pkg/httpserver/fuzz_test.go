package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
)

// FuzzRequest sends arbitrary bodies, headers and parameters: nothing that a client can send is answered with 5xx, and
// every refusal is a problem in UTF-8.
func FuzzRequest(f *testing.F) {
	spec, err := openapi3.NewLoader().LoadFromData([]byte(document))
	require.NoError(f, err)
	server, err := httpserver.New(httpserver.Options{Spec: spec, Log: discard})
	require.NoError(f, err)
	orders(server.Echo())
	f.Add(soundOrder, "application/json", "key", "5", "0198f0a0-0000-7000-8000-000000000000")
	f.Add(`{"lines":[{"sku":"\u0000"}],"x":{"y":[[[]]]}}`, "application/json; charset=utf-8", "", "-1", "../..")
	f.Add("\xff", "text/plain;a=\"", "\x00", "1e400", "%00")
	f.Add(`{"currency":1e999,"lines":null,"note":{}}{}`, "application/json", "k", "", "\x00\xff")
	f.Fuzz(func(t *testing.T, body, media, key, limit, id string) {
		post := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/orders", strings.NewReader(body))
		post.Header["Content-Type"] = []string{media}
		post.Header["Idempotency-Key"] = []string{key}
		list := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/orders", nil)
		list.URL.RawQuery = "limit=" + limit
		get := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/orders/x", nil)
		get.URL = &url.URL{Path: "/v1/orders/" + id}
		for _, request := range []*http.Request{post, list, get} {
			answer := httptest.NewRecorder()
			server.Handler().ServeHTTP(answer, request)
			require.Less(t, answer.Code, http.StatusInternalServerError, answer.Body)
			if answer.Code >= http.StatusBadRequest {
				require.Equal(t, httpserver.ContentTypeProblem, answer.Header().Get("Content-Type"))
				require.True(t, utf8.Valid(answer.Body.Bytes()))
			}
		}
	})
}
