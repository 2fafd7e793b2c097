package httpserver_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
)

// serve runs a server whose GET /wait answers when release is closed and whose GET /stream lasts.
func serve(t *testing.T, options httpserver.Options) (base string, entered chan struct{}, release func()) {
	t.Helper()
	options.Addr, options.Log = "127.0.0.1:0", discard
	server, err := httpserver.New(options)
	require.NoError(t, err)
	entered = make(chan struct{}, 100)
	waiting := make(chan struct{})
	server.Echo().GET("/wait", func(c echo.Context) error {
		entered <- struct{}{}
		<-waiting
		return c.String(http.StatusOK, "waited")
	})
	server.Echo().POST("/order", func(c echo.Context) error { return c.String(http.StatusOK, "read") })
	server.Echo().GET("/stream", func(c echo.Context) error {
		stream, err := httpserver.NewEventStream(c)
		if err != nil {
			return err
		}
		defer stream.Close()
		entered <- struct{}{}
		<-stream.Context().Done()
		return nil
	})
	require.NoError(t, server.Listen(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	var released bool
	release = func() {
		if !released {
			released = true
			close(waiting)
		}
	}
	t.Cleanup(func() {
		release()
		cancel()
		require.NoError(t, <-done)
	})
	return "http://" + server.Addr(), entered, release
}

// ask sends a request on a connection of its own and returns the answer's status and Retry-After.
func ask(ctx context.Context, t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

func TestLimit_more_requests_than_may_be_are_refused_at_once(t *testing.T) {
	t.Parallel()
	base, entered, release := serve(t, httpserver.Options{MaxRequests: 2})
	answers := make(chan int, 2)
	for range 2 {
		go func() {
			status, _ := ask(t.Context(), t, http.MethodGet, base+"/wait", "")
			answers <- status
		}()
		<-entered
	}
	status, after := ask(t.Context(), t, http.MethodGet, base+"/wait", "")
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "1", after)
	status, _ = ask(t.Context(), t, http.MethodGet, base+"/livez", "")
	require.Equal(t, http.StatusOK, status, "who is busy is not dead")
	release()
	require.Equal(t, http.StatusOK, <-answers)
	require.Equal(t, http.StatusOK, <-answers)
	status, _ = ask(t.Context(), t, http.MethodPost, base+"/order", "{}")
	require.Equal(t, http.StatusOK, status)
}

func TestLimit_streams_leave_room_for_requests(t *testing.T) {
	t.Parallel()
	base, entered, _ := serve(t, httpserver.Options{MaxRequests: 4, MaxStreams: 1})
	ctx, hangUp := context.WithCancel(t.Context())
	first, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/stream", nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(first)
	require.NoError(t, err)
	defer resp.Body.Close()
	<-entered
	status, after := ask(t.Context(), t, http.MethodGet, base+"/stream", "")
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "1", after)
	status, _ = ask(t.Context(), t, http.MethodPost, base+"/order", "{}")
	require.Equal(t, http.StatusOK, status)
	hangUp()
	require.EventuallyWithT(t, func(a *assertT) {
		again, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		req, err := http.NewRequestWithContext(again, http.MethodGet, base+"/stream", nil)
		require.NoError(a, err)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		require.NoError(a, err)
		defer resp.Body.Close()
		require.Equal(a, http.StatusOK, resp.StatusCode, "the place is free again")
	}, 10*time.Second, 20*time.Millisecond)
}

func TestLimit_connections_wait_for_a_place(t *testing.T) {
	t.Parallel()
	base, _, _ := serve(t, httpserver.Options{MaxConnections: 1})
	dial := func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write([]byte("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
		require.NoError(t, err)
		return conn
	}
	first := dial()
	line, err := bufio.NewReader(first).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "200")
	second := dial()
	require.NoError(t, second.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	_, err = second.Read(make([]byte, 1))
	require.Error(t, err, "nobody has accepted it")
	require.NoError(t, first.Close())
	require.NoError(t, second.SetReadDeadline(time.Now().Add(10*time.Second)))
	line, err = bufio.NewReader(second).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "200")
}

func TestBefore_runs_before_the_body_is_read(t *testing.T) {
	t.Parallel()
	refuse := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.Request().Method == http.MethodPost {
				return httpserver.NewProblem(httpserver.CodeOverloaded, "Not now.", httpserver.WithRetryAfter(7*time.Second))
			}
			return next(c)
		}
	}
	base, _, _ := serve(t, httpserver.Options{
		Before: []echo.MiddlewareFunc{refuse}, BodyLimit: 10, ReadTimeout: 200 * time.Millisecond,
	})
	status, after := ask(t.Context(), t, http.MethodPost, base+"/order", strings.Repeat("x", 11))
	require.Equal(t, http.StatusTooManyRequests, status, "not 413: nobody looked at the body")
	require.Equal(t, "7", after)

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("POST /order HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err, "a body that never comes holds the refusal for ReadTimeout and no longer")
	defer resp.Body.Close()
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
}
