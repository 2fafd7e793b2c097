package mailsink_test

import (
	"errors"
	"net"
	"net/textproto"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/mailsink"
)

// TestTrigger_every_recipient sends one mail twice to every recipient that makes trouble.
func TestTrigger_every_recipient(t *testing.T) {
	t.Parallel()

	const ok, lost = 250, 0 // as an answer's code
	cases := []struct {
		local         string
		first, second int
		kept          int // after both
	}{
		{"ada", ok, ok, 2},
		{"bounce", 550, 550, 0},
		{"tempfail", 451, 451, 0},
		{"tempfail-once", 451, ok, 1},
		{"data-bounce", 554, 554, 0},
		{"data-tempfail", 451, 451, 0},
		{"drop-after-data", lost, ok, 2},
		{"drop-before-data", lost, ok, 1},
		{"slow", ok, ok, 2},
	}
	tested := map[string]bool{}
	for _, tc := range cases {
		tested[tc.local] = true
		t.Run(tc.local, func(t *testing.T) {
			t.Parallel()

			s := start(t, mailsink.Config{SlowDelay: time.Millisecond})
			to := tc.local + "+order-7@example.com"
			require.Equal(t, tc.first, code(s.send(to, id(1))))
			require.Equal(t, tc.second, code(s.send(to, id(1))))
			require.Len(t, s.Mails(), tc.kept)
		})
	}
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, trigger := range mailsink.Triggers() {
		require.True(t, tested[trigger.LocalPart], "%s is not tested", trigger.LocalPart)
		require.Contains(t, string(doc), "\t"+trigger.LocalPart+" ", "not in doc.go")
	}
}

func TestTrigger_a_once_is_for_one_mail(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{})
	require.Error(t, s.send("drop-after-data@example.com", id(1)))
	require.Error(t, s.send("drop-after-data@example.com", id(2)), "another mail is lost again")
	require.NoError(t, s.send("drop-after-data@example.com", id(1)))
	require.Equal(t, 2, s.Mails()[0].Copy)
	require.Equal(t, 451, code(s.send("tempfail-once@example.com", id(3))))
	require.Equal(t, 451, code(s.send("tempfail-once+b@example.com", id(3))))
}

// TestServer_Run_answers_a_mail_in_hand stops the sink while a sender waits for its answer and another one idles.
func TestServer_Run_answers_a_mail_in_hand(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{SlowDelay: time.Hour})
	idle, err := net.Dial("tcp", s.SMTPAddr())
	require.NoError(t, err)
	defer idle.Close()
	sent := make(chan error, 1)
	go func() { sent <- s.send("slow@example.com", id(1)) }()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Len(c, s.Mails(), 1)
	}, 10*time.Second, 2*time.Millisecond)
	s.stop()
	// The sender's QUIT may find the connection closed; the mail was answered before.
	require.Contains(t, []int{250, 0}, code(<-sent))
}

// TestServer_Run_is_not_held_up_by_half_a_mail: chunks are read beside the conversation.
func TestServer_Run_is_not_held_up_by_half_a_mail(t *testing.T) {
	t.Parallel()

	s := start(t, mailsink.Config{})
	for _, last := range []string{"DATA\r\nSubject: half\r\n", "BDAT 100\r\nSubject: half\r\n"} {
		conn, err := net.Dial("tcp", s.SMTPAddr())
		require.NoError(t, err)
		text := textproto.NewConn(conn)
		_, _, err = text.ReadResponse(220)
		require.NoError(t, err)
		for _, line := range []string{"EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c>"} {
			require.NoError(t, text.PrintfLine("%s", line))
			_, _, err = text.ReadResponse(250)
			require.NoError(t, err)
		}
		_, err = conn.Write([]byte(last))
		require.NoError(t, err)
		require.NoError(t, text.Close())
	}
	s.stop()
	require.Empty(t, s.Mails())
}

// code is the server's answer, 250 if there was no error and 0 if the connection broke.
func code(err error) int {
	if err == nil {
		return 250
	}
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		return answer.Code
	}
	return 0
}
