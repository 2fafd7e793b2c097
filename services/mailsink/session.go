package mailsink

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// maxSeen bounds what the sink remembers of first times; a test run stays far below.
const maxSeen = 100_000

// postOffice is the SMTP side: it keeps mails, or mistreats them as their recipients ask.
type postOffice struct {
	config Config
	store  *store
	log    *slog.Logger

	stopping chan struct{}
	// inHand is held for reading from the first byte of a content until its answer is sent.
	inHand sync.RWMutex

	mu   sync.Mutex
	seen map[string]struct{} // what has had its first time
}

// first reports whether it is asked for the first time.
func (p *postOffice) first(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.seen[what]; ok {
		return false
	}
	if len(p.seen) >= maxSeen {
		clear(p.seen)
	}
	p.seen[what] = struct{}{}
	return true
}

// session is one SMTP conversation. With the CHUNKING extension the library runs Data beside the other methods.
type session struct {
	office *postOffice
	conn   net.Conn

	mu     sync.Mutex
	from   string
	to     []string
	inHand bool // office.inHand is held for this session
}

// Mail takes the sender.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = from
	return nil
}

// Rcpt takes a recipient, or refuses it if it asks for that.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	trigger, ok := triggerOf(to)
	if ok && trigger.at == atRecipient && (!trigger.once || s.office.first("recipient "+to)) {
		return trigger.refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = append(s.to, to)
	return nil
}

// Data takes the content. The first recipient that asks for trouble decides.
func (s *session) Data(r io.Reader) error {
	from, to := s.begin()
	raw, err := io.ReadAll(r)
	if err != nil {
		s.release()
		return err // the connection broke, or the mail is too large: the library words it
	}
	trigger := s.office.trigger(to, raw)
	if trigger.refusal != nil {
		return trigger.refusal
	}
	if !trigger.drop || trigger.keep {
		if err := s.office.store.add(from, to, raw, time.Now()); err != nil {
			s.office.log.Error("mail was not kept", "error", err)
			return answer(451, 4, 3, 0, "The mail could not be kept")
		}
		s.office.log.Debug("mail kept", "from", from, "to", to)
	}
	if trigger.slow {
		timer := time.NewTimer(s.office.config.SlowDelay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.office.stopping:
		}
	}
	if trigger.drop {
		_ = s.conn.Close() // the library's answer goes nowhere
	}
	return nil
}

// Reset ends a mail. The library calls it after the answer to the content was sent.
func (s *session) Reset() {
	s.mu.Lock()
	s.from, s.to = "", nil
	s.mu.Unlock()
	s.release()
}

// Logout ends the conversation, wherever it is.
func (s *session) Logout() error {
	s.release()
	return nil
}

// begin marks a mail as in hand, so that a server that stops waits for its answer.
func (s *session) begin() (from string, to []string) {
	s.office.inHand.RLock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inHand = true
	return s.from, s.to
}

func (s *session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inHand {
		s.inHand = false
		s.office.inHand.RUnlock()
	}
}

// trigger finds what the recipients ask for.
func (p *postOffice) trigger(recipients []string, raw []byte) Trigger {
	for _, to := range recipients {
		trigger, ok := triggerOf(to)
		if !ok || trigger.at != atContent {
			continue
		}
		if trigger.once && !p.first(fmt.Sprintf("%s %s", trigger.LocalPart, messageID(raw))) {
			continue
		}
		return trigger
	}
	return Trigger{}
}

func messageID(raw []byte) string {
	message, err := mail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		return ""
	}
	return message.Header.Get("Message-Id")
}
