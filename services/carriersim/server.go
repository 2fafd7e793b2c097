package carriersim

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"recourse.dev/pkg/sandbox"
)

// Server is the carrier. Make it with New, then Listen (if the address is wanted early) and Run.
type Server struct {
	*sandbox.Server

	config   Config
	log      *slog.Logger
	book     *book
	provider *sandbox.Provider
	hooks    *sandbox.Hooks
}

// New checks the configuration and rebuilds the carrier from its ledger.
func New(config Config, log *slog.Logger) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	faults := sandbox.NewFaults(config.Seed,
		routeCreate, routeBuy, routeRefund, routeGet, routeList, sandbox.RouteWebhook)
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

// Ledger is every label that was bought or refunded so far.
func (s *Server) Ledger() []Entry {
	return s.book.ledger(span{})
}

// Totals is the ledger added up.
func (s *Server) Totals() Totals {
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

func (s *Server) authorized(r *http.Request) bool {
	wanted := s.config.APIKey.Reveal()
	given, _, _ := r.BasicAuth()
	return wanted == "" || subtle.ConstantTimeCompare([]byte(given), []byte(wanted)) == 1
}

// now is the instant of a request as the ledger keeps it.
func (s *Server) now() time.Time {
	return s.config.Now().UTC().Truncate(time.Millisecond)
}
