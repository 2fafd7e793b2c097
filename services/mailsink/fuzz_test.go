package mailsink_test

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/mailsink"
)

func FuzzMail(f *testing.F) {
	f.Add([]byte(mailTo("ada@example.com", id(1))))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n"))
	f.Add([]byte("Subject: =?x?q?=FF?=\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		mail := mailsink.Parse(raw)
		require.Equal(t, len(raw), mail.Size)
		require.True(t, utf8.ValidString(mail.Text) && utf8.ValidString(mail.HTML))
	})
}

// FuzzSession says anything in a conversation: every line of the answer has a code, the sink lives on, and what it kept
// can be listed.
func FuzzSession(f *testing.F) {
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: s\r\n\r\nbody\r\n.\r\nQUIT\r\n"))
	f.Add([]byte("HELO x\r\nMAIL FROM:<> SIZE=99999999999999999999\r\nRCPT TO:<bounce@d>\r\nRSET\r\nNOOP\r\n"))
	f.Add([]byte("EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nBDAT 4\r\nabcdBDAT 0 LAST\r\n"))
	f.Add([]byte("\x00\xff\r\n\r\n.\r\nDATA\r\n"))
	s, err := mailsink.New(mailsink.Config{HTTPAddr: "127.0.0.1:0", SMTPAddr: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	require.NoError(f, err)
	require.NoError(f, s.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		require.NoError(f, <-ended)
	})
	f.Fuzz(func(t *testing.T, said []byte) {
		if bytes.Contains(bytes.ToLower(said), []byte("slow")) {
			t.Skip("a recipient that asks for patience")
		}
		conn, err := net.Dial("tcp", s.SMTPAddr())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		_, _ = conn.Write(append(said, "\r\n.\r\nQUIT\r\n"...)) // the sink may have hung up
		for answer := bufio.NewScanner(conn); answer.Scan(); {
			require.Regexp(t, `^[2-5][0-9][0-9]([ -]|$)`, answer.Text())
		}
		for _, mail := range s.Mails() {
			require.NotEmpty(t, mail.Raw())
		}
	})
}
