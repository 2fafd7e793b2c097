package gatewaysim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/services/gatewaysim"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// gateway is a running simulator and a client of it that never repeats a request by itself.
type gateway struct {
	*gatewaysim.Server

	t      *testing.T
	client *http.Client
	stop   func()
}

func start(t *testing.T, config gatewaysim.Config) *gateway {
	t.Helper()
	config.HTTPAddr = "127.0.0.1:0"
	server, err := gatewaysim.New(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	transport := &http.Transport{}
	g := &gateway{Server: server, t: t, client: &http.Client{Transport: transport}}
	stopped := false
	g.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-ended)
		transport.CloseIdleConnections()
	}
	t.Cleanup(g.stop)
	return g
}

// response is what came back: a status and the fields of the body.
type response struct {
	status   int
	replayed bool
	body     []byte
	fields   map[string]any
}

func (r response) errorField(name string) any {
	fields, _ := r.fields["error"].(map[string]any)
	return fields[name]
}

// do sends a request; err is a broken connection.
func (g *gateway) do(ctx context.Context, method, path, key string, body any) (response, error) {
	g.t.Helper()
	var payload []byte
	if raw, ok := body.([]byte); ok {
		payload = raw
	} else if body != nil {
		encoded, err := json.Marshal(body)
		require.NoError(g.t, err)
		payload = encoded
	}
	request, err := http.NewRequestWithContext(ctx, method, g.URL()+path, bytes.NewReader(payload))
	require.NoError(g.t, err)
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	answer, err := g.client.Do(request)
	if err != nil {
		return response{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return response{}, err
	}
	r := response{
		status: answer.StatusCode, replayed: answer.Header.Get("Idempotent-Replayed") == "true", body: text,
		fields: map[string]any{},
	}
	_ = json.Unmarshal(text, &r.fields) // a list of the admin API has no fields
	return r, nil
}

func (g *gateway) must(method, path, key string, body any) response {
	g.t.Helper()
	r, err := g.do(g.t.Context(), method, path, key, body)
	require.NoError(g.t, err)
	return r
}

// create makes an unconfirmed intent of 19.99 EUR and returns its id.
func (g *gateway) create(token string) string {
	g.t.Helper()
	r := g.must("POST", "/v1/payment_intents", "", map[string]any{
		"amount": 1999, "currency": "EUR", "payment_method": token,
		"metadata": map[string]string{"order_id": "order-1", "operation_id": "op-create"},
	})
	require.Equal(g.t, http.StatusOK, r.status, string(r.body))
	require.Equal(g.t, "requires_confirmation", r.fields["status"])
	return r.fields["id"].(string)
}

func (g *gateway) post(id, verb, key string) (response, error) {
	g.t.Helper()
	return g.do(g.t.Context(), "POST", "/v1/payment_intents/"+id+"/"+verb, key, nil)
}

func (g *gateway) mustPost(id, verb, key string) response {
	g.t.Helper()
	r, err := g.post(id, verb, key)
	require.NoError(g.t, err)
	return r
}

func (g *gateway) status(id string) string {
	g.t.Helper()
	return g.must("GET", "/v1/payment_intents/"+id, "", nil).fields["status"].(string)
}

// eventually waits until the intent is in the status.
func (g *gateway) eventually(id, status string) {
	g.t.Helper()
	require.EventuallyWithT(g.t, func(c *assert.CollectT) {
		require.Equal(c, status, g.status(id))
	}, 10*time.Second, 2*time.Millisecond)
}

// kinds are the movements in the ledger, in order.
func (g *gateway) kinds() []gatewaysim.EntryKind {
	kinds := []gatewaysim.EntryKind{}
	for _, entry := range g.Ledger() {
		kinds = append(kinds, entry.Kind)
	}
	return kinds
}
