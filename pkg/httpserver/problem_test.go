package httpserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
)

type assertT = assert.CollectT

var discard = slog.New(slog.DiscardHandler)

// Every code has a page, every page a code, and the page says what the table says.
func TestCodes_and_pages(t *testing.T) {
	t.Parallel()
	const dir = "../../docs/problems"
	files, err := filepath.Glob(dir + "/*.md")
	require.NoError(t, err)
	pages := map[string]bool{}
	for _, file := range files {
		pages[strings.TrimSuffix(filepath.Base(file), ".md")] = true
	}
	require.True(t, pages["README"])
	delete(pages, "README")
	index, err := os.ReadFile(dir + "/README.md")
	require.NoError(t, err)
	seen := map[httpserver.Code]bool{}
	for _, d := range httpserver.Definitions() {
		require.False(t, seen[d.Code], d.Code)
		seen[d.Code] = true
		require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, string(d.Code))
		require.NotEmpty(t, http.StatusText(d.Status), d.Code)
		require.True(t, pages[string(d.Code)], "docs/problems/%s.md is missing", d.Code)
		delete(pages, string(d.Code))
		text, err := os.ReadFile(filepath.Join(dir, string(d.Code)+".md"))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), fmt.Sprintf("# %s\n\n%d %s. %s.\n", d.Code, d.Status,
			http.StatusText(d.Status), d.Title)), "docs/problems/%s.md must begin with code, status and title", d.Code)
		for _, section := range []string{"## When", "## What to do", "## What we do"} {
			require.Contains(t, string(text), "\n"+section+"\n", d.Code)
		}
		require.Contains(t, string(index), fmt.Sprintf("| [%s](%s.md) | %d | %s |\n", d.Code, d.Code, d.Status, d.Title))
	}
	require.Empty(t, pages, "pages without a code")
}

func TestProblem_document(t *testing.T) {
	t.Parallel()
	p := httpserver.NewProblem(httpserver.CodeTooLate, "It was shipped.",
		httpserver.WithErrors(httpserver.FieldError{Pointer: "/a", Code: "c", Detail: "d"}),
		httpserver.WithRetryAfter(1500*time.Millisecond),
		httpserver.WithExtra("order_id", "17"), httpserver.WithExtra("status", "overwritten"),
		httpserver.WithCause(io.EOF))
	document, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"type": "https://recourse.dev/problems/too_late", "title": "It is too late for this", "status": 409,
		"code": "too_late", "detail": "It was shipped.", "retry_after": 2, "order_id": "17",
		"errors": [{"pointer": "/a", "code": "c", "detail": "d"}]
	}`, string(document))
	require.ErrorIs(t, p, io.EOF)
	require.Equal(t, "too_late: It was shipped.: EOF", p.Error())
}

func TestErrors_become_problems(t *testing.T) {
	t.Parallel()
	const secret = "password=hunter2"
	returns := map[string]func(echo.Context) error{
		"/problem": func(echo.Context) error {
			return fmt.Errorf("wrapped: %w", httpserver.NewProblem(httpserver.CodeOrderNotFound, "No order 17.",
				httpserver.WithExtra("order_id", "17")))
		},
		"/away":         func(echo.Context) error { return fmt.Errorf("reading: %w", errDatabaseAway) },
		"/deadline":     func(echo.Context) error { return fmt.Errorf("waiting: %w", context.DeadlineExceeded) },
		"/error":        func(echo.Context) error { return errors.New(secret) },
		"/panic":        func(echo.Context) error { panic(secret) },
		"/unknown-code": func(echo.Context) error { return httpserver.NewProblem("no_such_code", secret) },
		"/bind": func(c echo.Context) error {
			var into struct{ Quantity int64 }
			return c.Bind(&into)
		},
	}
	r := start(t, httpserver.Options{}, func(e *echo.Echo) {
		for path, handler := range returns {
			e.POST(path, handler)
		}
	})
	for _, test := range []struct {
		path   string
		code   httpserver.Code
		detail string
		retry  string
		level  string
	}{
		{"/problem", httpserver.CodeOrderNotFound, "No order 17.", "", "DEBUG"},
		{"/away", httpserver.CodeUnavailable, "Nothing was lost", "2", "ERROR"},
		{"/deadline", httpserver.CodeUnavailable, "repeat", "2", "ERROR"},
		{"/error", httpserver.CodeInternal, "request id", "", "ERROR"},
		{"/panic", httpserver.CodeInternal, "request id", "", "ERROR"},
		{"/unknown-code", httpserver.CodeInternal, "", "", "ERROR"},
		{"/bind", httpserver.CodeValidationFailed, "", "", "DEBUG"},
		{"/nowhere", httpserver.CodeNotFound, "path", "", "DEBUG"},
	} {
		a := r.do(t, "POST", test.path, `{"Quantity":1e3}`, "X-Request-Id", "id"+strings.ReplaceAll(test.path, "/", "-"))
		require.Equal(t, test.code, a.problem.Code, test.path)
		require.Contains(t, a.problem.Detail, test.detail, test.path)
		require.Equal(t, test.retry, a.header.Get("Retry-After"), test.path)
		require.Equal(t, "no-store", a.header.Get("Cache-Control"))
		require.NotContains(t, a.body, "hunter2", test.path)
		require.NotContains(t, a.body, "10.0.0.7", test.path)
		// Logged once, under the id that the client has.
		var lines []string
		for line := range strings.Lines(r.log.String()) {
			if strings.Contains(line, `"request_id":"`+a.problem.RequestID+`"`) {
				lines = append(lines, line)
			}
		}
		require.Len(t, lines, 1, test.path)
		require.Contains(t, lines[0], `"level":"`+test.level+`"`, test.path)
	}
	require.Contains(t, r.log.String(), "hunter2")
	require.Contains(t, r.log.String(), "problem_test.go", "the panic's stack")

	a := r.do(t, "GET", "/problem", "")
	require.Equal(t, httpserver.CodeMethodNotAllowed, a.problem.Code)
	require.Contains(t, a.header.Get("Allow"), "POST")
	require.Equal(t, "17", r.do(t, "POST", "/problem", "").problem.OrderID)
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{}, func(e *echo.Echo) {
		e.GET("/id", func(c echo.Context) error {
			return c.String(http.StatusOK, httpserver.RequestID(c.Request().Context()))
		})
	})
	for sent, kept := range map[string]bool{
		"shop-17:a.b_c": true, "": false, "two words": false, "<script>": false, strings.Repeat("x", 65): false,
	} {
		a := r.do(t, "GET", "/id", "", "X-Request-Id", sent)
		require.Equal(t, a.body, a.header.Get("X-Request-Id"))
		require.Equal(t, kept, a.body == sent, sent)
		require.NotEmpty(t, a.body)
	}
}

func TestCrossOrigin_is_refused(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{}, orders)
	a := r.do(t, "POST", "/v1/orders", "{}", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, httpserver.CodeCrossOriginRefused, a.problem.Code)
	a = r.do(t, "POST", "/v1/orders", "{}", "Origin", "https://evil.example")
	require.Equal(t, httpserver.CodeCrossOriginRefused, a.problem.Code)
	require.Equal(t, http.StatusAccepted, r.do(t, "POST", "/v1/orders", "{}", "Sec-Fetch-Site", "same-origin").status)
	require.Equal(t, http.StatusOK, r.do(t, "GET", "/v1/orders", "", "Sec-Fetch-Site", "cross-site").status)
}

// A sender that never finishes its body is let go of.
func TestReadTimeout_slow_body(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{ReadTimeout: 200 * time.Millisecond}, orders)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	_, err = io.WriteString(conn, "POST /v1/orders HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, response.Body.Close()) })
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
}

// The read timeout is for the body; a handler may take longer.
func TestReadTimeout_slow_handler(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{ReadTimeout: 100 * time.Millisecond}, func(e *echo.Echo) {
		e.POST("/slow", func(c echo.Context) error {
			select {
			case <-c.Request().Context().Done():
				return errors.New("taken for gone")
			case <-time.After(400 * time.Millisecond):
				return c.NoContent(http.StatusNoContent)
			}
		})
	})
	require.Equal(t, http.StatusNoContent, r.do(t, "POST", "/slow", "{}").status)
}
