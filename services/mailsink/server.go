package mailsink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/emersion/go-smtp"

	"recourse.dev/pkg/sandbox"
)

const (
	// smtpTimeout bounds each read and write of a conversation.
	smtpTimeout   = 30 * time.Second
	maxRecipients = 100
)

// Server is the mail sink. Make it with New, then Listen (if the addresses are wanted early) and Run.
type Server struct {
	*sandbox.Server // the HTTP side

	config Config
	log    *slog.Logger
	store  *store
	office *postOffice
	smtp   *smtp.Server
	smtpIn net.Listener
}

// New checks the configuration and reads the mails that were kept.
func New(config Config, log *slog.Logger) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	store, err := openStore(config.Dir, config.Keep, log)
	if err != nil {
		return nil, err
	}
	office := &postOffice{
		config: config, store: store, log: log, stopping: make(chan struct{}), seen: map[string]struct{}{},
	}
	s := &Server{config: config, log: log, store: store, office: office}
	s.Server = sandbox.NewServer(config.HTTPAddr, s.routes(), log, nil)
	s.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{office: office, conn: c.Conn()}, nil
	}))
	s.smtp.Domain = "mailsink.localhost"
	s.smtp.MaxMessageBytes = config.MaxBytes
	s.smtp.MaxRecipients = maxRecipients
	s.smtp.ReadTimeout = smtpTimeout
	s.smtp.WriteTimeout = smtpTimeout
	s.smtp.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	s.smtp.EnableSMTPUTF8 = true
	return s, nil
}

// Listen binds both addresses. A second call does nothing.
func (s *Server) Listen() error {
	if s.smtpIn != nil {
		return nil
	}
	if err := s.Server.Listen(); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.config.SMTPAddr)
	if err != nil {
		return fmt.Errorf("listening on SMTP_ADDR %s: %w", s.config.SMTPAddr, err)
	}
	s.smtpIn = listener
	return nil
}

// SMTPAddr is host:port of the mail side, the bound one after Listen.
func (s *Server) SMTPAddr() string {
	if s.smtpIn == nil {
		return s.config.SMTPAddr
	}
	return s.smtpIn.Addr().String()
}

// Mails lists what is kept, newest first.
func (s *Server) Mails() []Mail {
	mails, _ := s.store.list(func(Mail) bool { return true }, s.config.Keep)
	return mails
}

// Run serves until ctx ends and finishes the mails in hand.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil { //nolint:contextcheck // binding an address takes no time
		return err
	}
	s.log.InfoContext(ctx, "taking mails", "smtp_addr", s.SMTPAddr())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pages := make(chan error, 1)
	go func() {
		err := s.Server.Run(ctx)
		cancel(err)
		pages <- err
	}()
	mails := make(chan error, 1)
	go func() {
		err := s.smtp.Serve(s.smtpIn)
		cancel(err)
		mails <- err
	}()
	<-ctx.Done()
	// No new conversations; then those that are handing over a mail are answered; then all are ended. A mail that
	// begins while the lock is waited for is cut off unanswered: its sender will try again.
	_ = s.smtpIn.Close()
	close(s.office.stopping)
	s.office.inHand.Lock()
	_ = s.smtp.Close()
	s.office.inHand.Unlock()
	if err := <-mails; err != nil && !errors.Is(err, net.ErrClosed) {
		return errors.Join(fmt.Errorf("taking mails: %w", err), <-pages)
	}
	return <-pages
}
