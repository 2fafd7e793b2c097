package mailsink_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/mailsink"
)

func TestSink_keeps_a_mail(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{})
	require.NoError(t, s.send("ada@example.com", id(1)))
	mails := s.Mails()
	require.Len(t, mails, 1)
	mail := mails[0]
	require.Equal(t, "shop@example.com", mail.From)
	require.Equal(t, []string{"ada@example.com"}, mail.To)
	require.Equal(t, id(1), mail.MessageID)
	require.Equal(t, "order-1", mail.OrderID)
	require.Equal(t, "Order confirmed \u2713", mail.Subject)
	require.Equal(t, "Total \u20ac 19.99", strings.TrimSpace(mail.Text))
	require.Equal(t, "<b>Total</b><script>alert(1)</script>", mail.HTML)
	require.Equal(t, 1, mail.Copy)
	require.Empty(t, mail.Problem)
	require.Equal(t, mailTo("ada@example.com", id(1)), string(mail.Raw()))
	require.Equal(t, mail.Size, len(mail.Raw()))
}

func TestSink_counts_copies(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{})
	for range 2 {
		require.NoError(t, s.send("ada@example.com", id(1)))
	}
	require.NoError(t, s.send("ada@example.com", id(2)))
	copies := []int{}
	for _, mail := range s.Mails() {
		copies = append(copies, mail.Copy)
	}
	require.Equal(t, []int{1, 2, 1}, copies)
}

func TestSink_takes_many_at_once(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{Keep: 30, Dir: t.TempDir()})
	wait := sync.WaitGroup{}
	for i := range 50 {
		wait.Go(func() { assert.NoError(t, s.send("ada@example.com", id(i))) })
	}
	wait.Wait()
	require.Len(t, s.Mails(), 30, "the oldest are forgotten")
}

func TestSink_keeps_what_is_no_mail(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{MaxBytes: 4096})
	deep := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
		strings.Repeat("--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", 20)
	for _, content := range []string{
		"no header at all\r\n",
		"Subject: x\r\nContent-Type: ;;;\r\n\r\nbody\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhalf\r\n",
		"Content-Transfer-Encoding: base64\r\n\r\n!!!!\r\n",
		deep,
	} {
		require.NoError(t, s.content(content))
		mail := s.Mails()[0]
		require.NotEmpty(t, mail.Problem, content)
		require.Equal(t, content, string(mail.Raw()))
		_, page := s.get("/mails/" + mail.ID)
		require.Contains(t, page, "Problem")
	}
	require.ErrorContains(t, s.content(strings.Repeat("x\r\n", 5000)), "552")
	require.Len(t, s.Mails(), 5)
}

func TestSink_bodies_without_parts(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{})
	require.NoError(t, s.content("Content-Type: text/html\r\n\r\n<i>hi</i>\xff\r\n"))
	require.Equal(t, "<i>hi</i>\uFFFD\r\n", s.Mails()[0].HTML)
	require.NoError(t, s.content("Subject: plain\r\n\r\nhi\r\n"))
	require.Equal(t, "hi\r\n", s.Mails()[0].Text)
}

func TestSink_survives_a_restart(t *testing.T) {
	t.Parallel()

	config := mailsink.Config{Dir: filepath.Join(t.TempDir(), "mails"), Keep: 3}
	s := start(t, config)
	for i := range 4 {
		require.NoError(t, s.send("ada@example.com", id(i/2)))
	}
	before := s.Mails()
	s.stop()
	// Neither of these is ours: one has no envelope, the other is a mail that was being written when we were killed.
	for _, name := range []string{"00000000T000000.000000-other.eml", "20990101T000000.000000-half.eml.part"} {
		require.NoError(t, os.WriteFile(filepath.Join(config.Dir, name), []byte("Subject: x\r\n\r\n"), 0o600))
	}

	s = start(t, config)
	after := s.Mails()
	require.Len(t, after, 3)
	for i := range after {
		require.Equal(t, before[i].ID, after[i].ID)
		require.True(t, before[i].ReceivedAt.Equal(after[i].ReceivedAt))
		require.Equal(t, before[i].To, after[i].To)
		require.Equal(t, before[i].Raw(), after[i].Raw())
	}
	require.NoError(t, s.send("ada@example.com", id(9)))
	require.Equal(t, id(9), s.Mails()[0].MessageID)
	files, err := filepath.Glob(filepath.Join(config.Dir, "2*.eml"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	_, err = os.Stat(filepath.Join(config.Dir, "00000000T000000.000000-other.eml"))
	require.NoError(t, err, "a file that is not ours is left alone")
}

func TestSink_json(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{})
	require.NoError(t, s.send("ada@example.com", id(1)))
	require.NoError(t, s.send("bob@example.com", id(2)))
	list := func(path string) ([]string, bool) {
		t.Helper()
		answer, body := s.get(path)
		require.Equal(t, http.StatusOK, answer.StatusCode, body)
		found := struct {
			Mails   []mailsink.Mail `json:"mails"`
			HasMore bool            `json:"has_more"`
		}{}
		require.NoError(t, json.NewDecoder(bytes.NewBufferString(body)).Decode(&found))
		ids := []string{}
		for _, mail := range found.Mails {
			ids = append(ids, mail.MessageID)
		}
		return ids, found.HasMore
	}
	cases := []struct {
		name, path string
		want       []string
		more       bool
	}{
		{"all", "/v1/mails", []string{id(2), id(1)}, false},
		{"recipient", "/v1/mails?to=ada@example.com", []string{id(1)}, false},
		{"message", "/v1/mails?message_id=%3Cmail-2@example.com%3E", []string{id(2)}, false},
		{"order", "/v1/mails?order=order-1", []string{id(2), id(1)}, false},
		{"nobody", "/v1/mails?order=none", []string{}, false},
		{"limit", "/v1/mails?limit=1", []string{id(2)}, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			ids, more := list(tc.path)
			require.Equal(t, tc.want, ids)
			require.Equal(t, tc.more, more)
		})
	}
	for _, path := range []string{"/v1/mails?too=x", "/v1/mails?limit=0", "/v1/mails?limit=x"} {
		answer, body := s.get(path)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, path)
		require.Contains(t, body, "message")
	}
	answer, body := s.get("/v1/mails/" + s.Mails()[0].ID)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, "mail-2@example.com")
	answer, _ = s.get("/v1/mails/none")
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	answer, _ = s.request(http.MethodDelete, "/v1/mails")
	require.Equal(t, http.StatusNoContent, answer.StatusCode)
	require.Empty(t, s.Mails())
	answer, _ = s.get("/readyz")
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestSink_pages_run_nothing(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{})
	_, page := s.get("/")
	require.Contains(t, page, s.SMTPAddr(), "an empty list says what to do")
	require.NoError(t, s.content("Subject: <script>alert(1)</script>\r\nContent-Type: text/html\r\n\r\n<p>hi</p>\r\n"))
	mail := s.Mails()[0]

	answer, page := s.get("/")
	require.Contains(t, page, "&lt;script&gt;")
	require.NotContains(t, page, "<script>")
	require.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'")

	answer, page = s.get("/mails/" + mail.ID)
	require.NotContains(t, page, "<script>")
	require.Contains(t, page, `sandbox title=`)
	require.NotContains(t, answer.Header.Get("Content-Security-Policy"), "unsafe")

	answer, page = s.get("/mails/" + mail.ID + "/body")
	require.Equal(t, mail.HTML, page)
	require.Regexp(t, `^sandbox; default-src 'none';`, answer.Header.Get("Content-Security-Policy"))

	answer, page = s.get("/mails/" + mail.ID + "/raw")
	require.Equal(t, string(mail.Raw()), page)
	require.Equal(t, "text/plain; charset=utf-8", answer.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))

	answer, _ = s.get("/page/style.css")
	require.Contains(t, answer.Header.Get("Content-Type"), "text/css")
	for _, path := range []string{"/mails/none", "/mails/none/body", "/mails/none/raw", "/page/list.html"} {
		answer, _ = s.get(path)
		require.Equal(t, http.StatusNotFound, answer.StatusCode, path)
	}
}

func TestNew_refuses_bad_config(t *testing.T) {
	t.Parallel()

	_, err := mailsink.New(mailsink.Config{Keep: -1, MaxBytes: -1, SlowDelay: -1}, nil)
	for _, setting := range []string{"MAIL_KEEP", "MAIL_MAX_BYTES", "SLOW_DELAY"} {
		require.ErrorContains(t, err, setting)
	}
}
