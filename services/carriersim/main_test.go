package carriersim_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/services/carriersim"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// carrier is a running simulator and a client of it.
type carrier struct {
	*carriersim.Server

	t      *testing.T
	client *http.Client
	stop   func()
}

func start(t *testing.T, config carriersim.Config) *carrier {
	t.Helper()
	config.HTTPAddr = "127.0.0.1:0"
	server, err := carriersim.New(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	transport := &http.Transport{}
	c := &carrier{Server: server, t: t, client: &http.Client{Transport: transport}}
	stopped := false
	c.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-ended)
		transport.CloseIdleConnections()
	}
	t.Cleanup(c.stop)
	return c
}

// response is what came back: a status and the body, as a shipment and as an error.
type response struct {
	carriersim.Shipment

	status int
	body   string
	Error  carriersim.Error `json:"error"`
}

// do sends a request; err is a broken connection.
func (c *carrier) do(ctx context.Context, method, path, body string) (response, error) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, c.URL()+path, strings.NewReader(body))
	require.NoError(c.t, err)
	answer, err := c.client.Do(request)
	if err != nil {
		return response{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return response{}, err
	}
	r := response{status: answer.StatusCode, body: string(text)}
	_ = json.Unmarshal(text, &r) // not every body is an object
	return r, nil
}

func (c *carrier) must(method, path, body string) response {
	c.t.Helper()
	r, err := c.do(c.t.Context(), method, path, body)
	require.NoError(c.t, err)
	return r
}

// parcelTo is the body of a create, to a country and zip.
func parcelTo(country, zip string) string {
	body, err := json.Marshal(map[string]any{
		"reference": "ref-1",
		"to_address": carriersim.Address{
			Name: "Ada", Street1: "Hauptstrasse 1", City: "Berlin", Zip: zip, Country: country,
		},
		"parcel": carriersim.Parcel{Weight: 20},
		"items":  []carriersim.Item{{SKU: "SKU-1", Quantity: 2}},
	})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// create makes a shipment to a zip.
func (c *carrier) create(zip string) response {
	c.t.Helper()
	r := c.must("POST", "/v1/shipments", parcelTo("DE", zip))
	require.Equal(c.t, http.StatusCreated, r.status, r.body)
	return r
}

// buy takes the cheapest rate.
func (c *carrier) buy(shipment response) (response, error) {
	c.t.Helper()
	return c.buyWithin(c.t.Context(), shipment)
}

func (c *carrier) buyWithin(ctx context.Context, shipment response) (response, error) {
	c.t.Helper()
	body := `{"rate":{"id":"` + shipment.Rates[0].ID + `"}}`
	return c.do(ctx, "POST", "/v1/shipments/"+shipment.ID+"/buy", body)
}

func (c *carrier) refund(shipment response) (response, error) {
	c.t.Helper()
	return c.do(c.t.Context(), "POST", "/v1/shipments/"+shipment.ID+"/refund", "")
}

func (c *carrier) get(shipment response) response {
	c.t.Helper()
	return c.must("GET", "/v1/shipments/"+shipment.ID, "")
}

// byReference finds the one shipment with a reference.
func (c *carrier) byReference(reference string) response {
	c.t.Helper()
	list := struct {
		Shipments []carriersim.Shipment `json:"shipments"`
	}{}
	require.NoError(c.t, json.Unmarshal([]byte(c.must("GET", "/v1/shipments?reference="+reference, "").body), &list))
	require.Len(c.t, list.Shipments, 1)
	return response{Shipment: list.Shipments[0]}
}
