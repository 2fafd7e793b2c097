package notification_test

import (
	"errors"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/notification"
)

// fault is what goes wrong in a conversation.
type fault string

const (
	dropAtMail    fault = "drop_at_mail"    // close the connection at MAIL
	dropAtRcpt    fault = "drop_at_rcpt"    // close the connection at RCPT
	dropAfterData fault = "drop_after_data" // keep the mail, close the connection
	dropInData    fault = "drop_in_data"    // close the connection while the content comes
	rcptRefused   fault = "rcpt_refused"    // 550 at RCPT
	rcptLater     fault = "rcpt_later"      // 451 at RCPT
	dataRefused   fault = "data_refused"    // 554 after the content
	dataLater     fault = "data_later"      // 451 after the content
	silent        fault = "silent"          // keep the mail, never answer
)

// received is a mail that the server has.
type received struct {
	To, MessageID, Subject, Order string
	Raw                           string
}

// mailServer is an SMTP server for tests.
type mailServer struct {
	server *smtp.Server
	addr   string
	quiet  chan struct{}

	mu     sync.Mutex
	mails  []received
	faults []fault
	refuse bool
	// conversations counts them; busy are those that are not over.
	conversations int
	busy          map[*session]bool
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	s := &mailServer{quiet: make(chan struct{}), busy: map[*session]bool{}}
	s.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refuse {
			return nil, &smtp.SMTPError{Code: 421, Message: "not now"}
		}
		var fault fault
		if len(s.faults) > 0 {
			fault, s.faults = s.faults[0], s.faults[1:]
		}
		begun := &session{server: s, conn: c, fault: fault}
		s.conversations++
		s.busy[begun] = true
		return begun, nil
	}))
	s.server.Domain = "localhost"
	s.server.ErrorLog = discard{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = listener.Addr().String()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.server.Serve(listener)
	}()
	t.Cleanup(func() {
		close(s.quiet)
		require.NoError(t, s.server.Close())
		<-served
	})
	return s
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

// mailer is the adapter under test, pointed at the server.
func (s *mailServer) mailer(t *testing.T, timeout time.Duration) *notification.SMTPMailer {
	t.Helper()
	m, err := notification.NewSMTPMailer(notification.SMTPConfig{
		Addr: s.addr, From: "orders@shop.example", FromName: "Shop", TLS: notification.TLSOpportunistic,
		Timeout: timeout, MaxConns: 16,
	})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// fail lets the next conversations go wrong, one after the other.
func (s *mailServer) fail(faults ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// outage turns everybody away at the door.
func (s *mailServer) outage(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = on
}

// hangUp closes the conversations that are not over, as servers do with those that wait for long.
func (s *mailServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.busy {
		_ = one.conn.Conn().Close()
	}
}

// failOpen lets the next mail of the conversations that are not over go wrong.
func (s *mailServer) failOpen(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.busy {
		one.fault = f
	}
}

// talks says how many conversations began, and how many of them are not over.
func (s *mailServer) talks() (began, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conversations, len(s.busy)
}

// got is what the server has.
func (s *mailServer) got() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.mails...)
}

// distinct counts the mails that a receiver sees that drops what has a Message-ID twice.
func (s *mailServer) distinct() int {
	ids := make(map[string]bool)
	for _, m := range s.got() {
		ids[m.MessageID] = true
	}
	return len(ids)
}

type session struct {
	server *mailServer
	conn   *smtp.Conn
	fault  fault // under the server's mu
	to     string
}

func (s *session) wrong() fault {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return s.fault
}

var errHungUp = errors.New("hung up")

func (s *session) hangUp() error {
	_ = s.conn.Conn().Close()
	return errHungUp
}

func (s *session) Reset() {}

func (s *session) Logout() error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	delete(s.server.busy, s)
	return nil
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	if s.wrong() == dropAtMail {
		return s.hangUp()
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	switch s.wrong() {
	case dropAtRcpt:
		return s.hangUp()
	case rcptRefused:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	case rcptLater:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	if s.wrong() == dropInData {
		return s.hangUp()
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	switch s.wrong() {
	case dataRefused:
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "looks like spam"}
	case dataLater:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "disk is full"}
	}
	message, err := mail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		return err
	}
	s.server.mu.Lock()
	s.server.mails = append(s.server.mails, received{
		To: s.to, MessageID: message.Header.Get("Message-Id"), Subject: message.Header.Get("Subject"),
		Order: message.Header.Get("X-Recourse-Order"), Raw: string(raw),
	})
	s.server.mu.Unlock()
	switch s.wrong() {
	case dropAfterData:
		return s.hangUp()
	case silent:
		<-s.server.quiet
	}
	return nil
}
