package mailsink_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/smtp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/services/mailsink"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// sink is a running mail sink.
type sink struct {
	*mailsink.Server

	t      *testing.T
	client *http.Client
	stop   func()
}

func start(t *testing.T, config mailsink.Config) *sink {
	t.Helper()
	config.HTTPAddr, config.SMTPAddr = "127.0.0.1:0", "127.0.0.1:0"
	server, err := mailsink.New(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	transport := &http.Transport{}
	s := &sink{Server: server, t: t, client: &http.Client{Transport: transport}}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-ended)
		transport.CloseIdleConnections()
	}
	t.Cleanup(s.stop)
	return s
}

// mailTo is a mail with a text and an HTML part.
func mailTo(to, messageID string) string {
	return strings.ReplaceAll(`From: Shop <shop@example.com>
To: `+to+`
Subject: =?utf-8?q?Order_confirmed_=E2=9C=93?=
Message-ID: `+messageID+`
X-Recourse-Order: order-1
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Total =E2=82=AC 19.99
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PGI+VG90YWw8L2I+PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==
--b--
`, "\n", "\r\n")
}

// send hands over one mail; the error is the server's answer or a broken connection.
func (s *sink) send(to, messageID string) error {
	s.t.Helper()
	return s.hand(to, mailTo(to, messageID))
}

// content hands over any bytes.
func (s *sink) content(content string) error {
	s.t.Helper()
	return s.hand("ada@example.com", content)
}

func (s *sink) hand(to, content string) error {
	return smtp.SendMail(s.SMTPAddr(), nil, "shop@example.com", []string{to}, []byte(content))
}

func (s *sink) get(path string) (*http.Response, string) {
	s.t.Helper()
	return s.request(http.MethodGet, path)
}

func (s *sink) request(method, path string) (*http.Response, string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+path, nil)
	require.NoError(s.t, err)
	answer, err := s.client.Do(request)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return answer, string(body)
}

func id(n int) string {
	return fmt.Sprintf("<mail-%d@example.com>", n)
}
