package gatewaysim

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"recourse.dev/pkg/sandbox"
)

// Server is the gateway. Make it with New, then Listen (if the address is wanted early) and Run.
type Server struct {
	*sandbox.Server

	config   Config
	log      *slog.Logger
	book     *book
	provider *sandbox.Provider
	hooks    *sandbox.Hooks
}

// New checks the configuration and rebuilds the gateway from its ledger.
func New(config Config, log *slog.Logger) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	faults := sandbox.NewFaults(config.Seed,
		routeCreate, routeConfirm, routeCapture, routeCancel, routeRefund, routeGet, routeList, sandbox.RouteWebhook)
	hooks, err := sandbox.OpenHooks(config.HookSettings, config.LedgerPath, faults, log)
	if err != nil {
		return nil, err
	}
	book, err := openBook(config, hooks)
	if err != nil {
		return nil, errors.Join(err, hooks.Close())
	}
	s := &Server{config: config, log: log, book: book, hooks: hooks}
	s.provider = sandbox.NewProvider(sandbox.ProviderConfig{
		Faults:     faults,
		Error:      func(status int) sandbox.Answer { return failed(status).answer() },
		Authorized: s.authorized,
	})
	s.Server = sandbox.NewServer(config.HTTPAddr, s.routes(), log, s.provider.Stop)
	return s, nil
}

// Run serves and sends webhooks until ctx ends, finishes the requests in hand and closes the ledger.
func (s *Server) Run(ctx context.Context) error {
	return errors.Join(s.hooks.Beside(ctx, s.Server.Run), s.book.journal.Close())
}

// DeliverBy lets the receiver of webhooks be reached by another transport than HTTP over TCP. It is called before Run.
func (s *Server) DeliverBy(transport http.RoundTripper) { s.hooks.By(transport) }

// Webhooks says what became of the webhooks.
func (s *Server) Webhooks() sandbox.HookStats {
	return s.hooks.Stats()
}

// Ledger is every movement of money so far.
func (s *Server) Ledger() []Entry {
	s.expireDue()
	return s.book.ledger(span{})
}

// Totals is the ledger added up.
func (s *Server) Totals() Totals {
	s.expireDue()
	return s.book.totals()
}

// Faults are the rules set by the admin API.
func (s *Server) Faults() *sandbox.Faults {
	return s.provider.Faults
}

// SetOutage starts or ends an outage.
func (s *Server) SetOutage(outage sandbox.Outage) error {
	return s.provider.SetOutage(outage)
}

// expireDue writes down every authorization whose time is over, so that whoever reads sees what is.
func (s *Server) expireDue() {
	for _, account := range s.book.due(s.now()) {
		s.expire(account)
	}
}

func (s *Server) expire(account *account) {
	account.working.Lock()
	defer account.working.Unlock()
	now := s.now()
	intent := s.book.intentOf(account)
	if !intent.due(now) {
		return // somebody else was here between the list and the lock
	}
	if err := s.book.commit(s.record(&attempt{route: "expire"}, intent, intent.expire(now), nil, now)); err != nil {
		s.log.Error("writing down an expired authorization", "intent", intent.ID, "error", err)
	}
}

func (s *Server) authorized(r *http.Request) bool {
	wanted, given := s.config.APIKey.Reveal(), r.Header.Get("Authorization")
	return wanted == "" || subtle.ConstantTimeCompare([]byte(given), []byte("Bearer "+wanted)) == 1
}

// now is the instant of a request as the ledger keeps it.
func (s *Server) now() time.Time {
	return s.config.Now().UTC().Truncate(time.Millisecond)
}
