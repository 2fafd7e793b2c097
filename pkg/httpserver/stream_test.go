package httpserver_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
)

func openStream(t *testing.T, url string) (*http.Response, *bufio.Reader) {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	return response, bufio.NewReader(response.Body)
}

func readUntil(t *testing.T, reader *bufio.Reader, end string) string {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		line, err := reader.ReadString('\n')
		require.NoError(t, err, b.String())
		b.WriteString(line)
	}
	return b.String()
}

// A stream outlives the write timeout of ordinary responses and ends when the server stops.
func TestEventStream(t *testing.T) {
	t.Parallel()
	refused := make(chan error, 1)
	ended := make(chan struct{})
	r := start(t, httpserver.Options{WriteTimeout: 100 * time.Millisecond}, func(e *echo.Echo) {
		e.GET("/events", func(c echo.Context) error {
			stream, err := httpserver.NewEventStream(c)
			if err != nil {
				return err
			}
			defer stream.Close()
			refused <- stream.Send("1\n2", "", "")
			ticker := time.NewTicker(150 * time.Millisecond)
			defer ticker.Stop()
			for i := 0; ; i++ {
				select {
				case <-stream.Context().Done():
					close(ended)
					return nil
				case <-ticker.C:
				}
				switch i {
				case 0:
					err = stream.Ping()
				case 1:
					err = stream.Send("7", "order", "two\r\nlines")
				case 2:
					err = stream.Send("", "", "")
				}
				if err != nil {
					return err
				}
			}
		})
	})
	_, reader := openStream(t, r.url+"/events")
	require.Error(t, <-refused)
	text := readUntil(t, reader, "data: lines\n\n")
	require.Equal(t, ": ok\n\n: ping\n\nid: 7\nevent: order\ndata: two\ndata: lines\n\n", text)
	began := time.Now()
	require.NoError(t, r.stop())
	require.Less(t, time.Since(began), 5*time.Second)
	<-ended
}

func TestEventStream_client_leaves(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	r := start(t, httpserver.Options{}, func(e *echo.Echo) {
		e.GET("/events", func(c echo.Context) error {
			stream, err := httpserver.NewEventStream(c)
			if err != nil {
				return err
			}
			defer stream.Close()
			<-stream.Context().Done()
			close(ended)
			return nil
		})
	})
	response, reader := openStream(t, r.url+"/events")
	readUntil(t, reader, "\n\n")
	require.NoError(t, response.Body.Close())
	<-ended
}
