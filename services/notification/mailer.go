package notification

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

// Mailer is the port to whoever takes mails. Only an implementation may say that a mail was refused or never handed
// over; whatever it cannot prove is unknown.
type Mailer interface {
	Send(ctx context.Context, m Mail) Delivery
}

// Mail is one try; every try of a notification is the same.
type Mail struct {
	// MessageID is equal in every try, so that a receiver can drop the second.
	MessageID string
	OrderID   string
	To        string
	Name      string
	Subject   string
	Text      string
	HTML      string
	Date      time.Time
}

// Delivery is what is known after a try. Its members are Accepted, Rejected, NotSent and Unknown.
//
//sumtype:decl
type Delivery interface{ delivery() }

// Accepted says that the server took the mail: from here on it is the server's to deliver.
type Accepted struct{ Detail string }

// Rejected says that the server will never take it.
type Rejected struct {
	Code   int
	Detail string
}

// NotSent says that the server does not have it and may take it later.
type NotSent struct {
	// Code is the server's answer, 0 if there was none.
	Code   int
	Detail string
}

// Unknown says that the mail was handed over and the answer was lost.
type Unknown struct{ Detail string }

func (Accepted) delivery() {}
func (Rejected) delivery() {}
func (NotSent) delivery()  {}
func (Unknown) delivery()  {}

// TLS policies of SMTPConfig.
const (
	TLSNone          = "none"
	TLSOpportunistic = "opportunistic"
	TLSMandatory     = "mandatory"
	TLSImplicit      = "implicit"
)

// SMTPConfig says where mails are handed over.
type SMTPConfig struct {
	// Addr is host:port.
	Addr string
	// From is the sender's address, FromName the name shown with it.
	From     string
	FromName string
	// TLS is one of none, opportunistic (STARTTLS if offered), mandatory (STARTTLS or nothing) and implicit.
	TLS      string
	Username string
	Password string
	// Timeout bounds each step of the conversation.
	Timeout time.Duration
	// MaxConns bounds the conversations at a time; mail servers count them.
	MaxConns int
}

// SMTPMailer hands mails to an SMTP server, one after the other in a conversation.
//
// What counts as proof: an answer with a code, and where in the conversation it came. Up to and including the server's
// go-ahead for the content nothing has been handed over; from there on only a coded answer proves anything.
type SMTPMailer struct {
	client        *mail.Client
	config        SMTPConfig
	slots         chan struct{}
	conversations *conversations
}

// NewSMTPMailer checks the configuration; it does not connect.
func NewSMTPMailer(c SMTPConfig) (*SMTPMailer, error) {
	host, portText, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("SMTP_ADDR %q is no host:port, for example 127.0.0.1:8025: %w", c.Addr, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("SMTP_ADDR %q: the port is no number: %w", c.Addr, err)
	}
	if why := checkEmail(c.From); why != "" {
		return nil, fmt.Errorf("SMTP_FROM: %s", why)
	}
	options := []mail.Option{mail.WithPort(port), mail.WithTimeout(c.Timeout), mail.WithoutNoop()}
	switch c.TLS {
	case TLSNone:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	case TLSOpportunistic:
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	case TLSMandatory:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case TLSImplicit:
		options = append(options, mail.WithSSL())
	default:
		return nil, fmt.Errorf("SMTP_TLS %q is none of none, opportunistic, mandatory, implicit", c.TLS)
	}
	if c.Username != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(c.Username),
			mail.WithPassword(c.Password))
	}
	client, err := mail.NewClient(host, options...)
	if err != nil {
		return nil, fmt.Errorf("configuring SMTP: %w", err)
	}
	return &SMTPMailer{
		client: client, config: c, slots: make(chan struct{}, max(1, c.MaxConns)),
		conversations: &conversations{client: client, timeout: c.Timeout},
	}, nil
}

// Close ends the conversations that are kept open between mails.
func (s *SMTPMailer) Close() { s.conversations.close() }

// Send hands one mail over.
func (s *SMTPMailer) Send(ctx context.Context, m Mail) Delivery {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return NotSent{Detail: "waiting for a free conversation: " + ctx.Err().Error()}
	}
	message, err := s.message(m)
	if err != nil {
		return Rejected{Detail: err.Error()}
	}
	if kept := s.conversations.open(); kept != nil {
		if err := s.hand(kept, message); !over(err) {
			return classify(message, err)
		}
		// The server ended it while nobody looked. Nothing was handed over.
	}
	fresh, err := s.conversations.dial(ctx)
	if err != nil {
		// Even a 5xx here is about us, our name or our password, and not about the mail.
		return NotSent{Detail: err.Error()}
	}
	return classify(message, s.hand(fresh, message))
}

// hand hands one mail over in a conversation, which may carry another one if that went well. Ending it otherwise must
// not change what is known.
func (s *SMTPMailer) hand(c *conversation, message *mail.Msg) error {
	err := s.client.SendWithSMTPClient(c.smtp, message)
	if err == nil {
		s.conversations.keep(c)
	} else {
		s.conversations.end(c)
	}
	return err
}

// over says that a kept conversation had come to its end before the mail: the server did not even take the sender.
func over(err error) bool {
	failure, ok := errors.AsType[*mail.SendError](err)
	if !ok || failure.Reason != mail.ErrSMTPMailFrom && failure.Reason != mail.ErrConnCheck {
		return false
	}
	const closing = 421
	return failure.ErrorCode() == 0 || failure.ErrorCode() == closing
}

func (s *SMTPMailer) message(m Mail) (*mail.Msg, error) {
	message := mail.NewMsg()
	if err := message.FromFormat(s.config.FromName, s.config.From); err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	if err := message.AddToFormat(m.Name, m.To); err != nil {
		return nil, fmt.Errorf("recipient: %w", err)
	}
	message.SetMessageIDWithValue(m.MessageID)
	message.SetDateWithValue(m.Date)
	message.Subject(m.Subject)
	message.SetUserAgent("recourse")
	message.SetGenHeader("X-Recourse-Order", m.OrderID)
	// Nobody is on holiday from an order confirmation.
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	message.SetBodyString(mail.TypeTextPlain, m.Text)
	message.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	return message, nil
}

// classify reads how a conversation ended. A mail that was accepted stays accepted when the goodbye goes wrong.
func classify(message *mail.Msg, err error) Delivery {
	if err == nil || message.IsDelivered() {
		return Accepted{Detail: plainText(message.ServerResponse())}
	}
	failure, ok := errors.AsType[*mail.SendError](err)
	if !ok {
		return Unknown{Detail: plainText(err.Error())}
	}
	code, detail := failure.ErrorCode(), plainText(err.Error())
	switch {
	case code >= 500 && code < 600:
		return Rejected{Code: code, Detail: detail}
	case code >= 400 && code < 500:
		return NotSent{Code: code, Detail: detail}
	}
	switch failure.Reason {
	case mail.ErrGetSender, mail.ErrGetRcpts, mail.ErrNoUnencoded:
		// The mail itself cannot be sent; no conversation will change that.
		return Rejected{Detail: detail}
	case mail.ErrSMTPMailFrom, mail.ErrSMTPRcptTo, mail.ErrSMTPData, mail.ErrConnCheck:
		return NotSent{Detail: detail}
	case mail.ErrWriteContent, mail.ErrSMTPDataClose, mail.ErrSMTPReset, mail.ErrAmbiguous:
	}
	return Unknown{Detail: detail}
}

var _ Mailer = (*SMTPMailer)(nil)
