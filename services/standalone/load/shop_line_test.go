package load_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/load"
)

func accepting(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Location", "/v1/orders/"+uuid.NewString())
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write([]byte("{}"))
}

func TestShop_keeps_its_connections_and_opens_no_more_than_it_may(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(accepting))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	shop := load.NewShop(server.URL, "", 3)
	t.Cleanup(shop.Close)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				_, outcome, _ := shop.Submit(t.Context(), load.NewOrder("ref", "SKU-1", "tok_visa"))
				require.Equal(t, load.Accepted, outcome)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, opened.Load(), int64(3))
}

// A server ends connections that are idle for long; whoever uses one next does not hear of it.
func TestShop_replaces_a_connection_that_the_server_has_given_up(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(accepting))
	t.Cleanup(server.Close)
	shop := load.NewShop(server.URL, "", 1)
	t.Cleanup(shop.Close)
	for range 3 {
		_, outcome, _ := shop.Submit(t.Context(), load.NewOrder("ref", "SKU-1", "tok_visa"))
		require.Equal(t, load.Accepted, outcome)
		server.CloseClientConnections()
	}
	server.Close()
	_, outcome, _ := shop.Submit(t.Context(), load.NewOrder("ref", "SKU-1", "tok_visa"))
	require.Equal(t, load.Failed, outcome)
}

func TestShop_gives_up_with_its_context(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	shop := load.NewShop(server.URL, "", 1)
	t.Cleanup(shop.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	go func() {
		<-entered
		cancel()
	}()
	_, outcome, _ := shop.Submit(ctx, load.NewOrder("ref", "SKU-1", "tok_visa"))
	require.Equal(t, load.Failed, outcome)
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestShop_says_what_address_it_wants(t *testing.T) {
	t.Parallel()
	shop := load.NewShop("localhost", "", 1)
	t.Cleanup(shop.Close)
	_, err := shop.Order(t.Context(), uuid.New())
	require.ErrorContains(t, err, `"localhost": want http://host:port`)
}
