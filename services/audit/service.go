package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/singleflight"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/service"
	auditapi "recourse.dev/schemas/gen/api/audit"
)

// Service repeats the audit and serves the last report.
type Service struct {
	config  Config
	log     *slog.Logger
	server  *httpserver.Server
	metrics metrics

	// running lets requests that come during an audit have that one's report: two at a time would only load the system.
	running singleflight.Group
	last    atomic.Pointer[Report]
	// ctx ends when the process stops; it bounds the audits, which outlive the requests for them.
	ctx    context.Context //nolint:containedctx // the lifetime of the process
	cancel context.CancelFunc
}

// New takes the HTTP address. Nothing is read before Run: what is audited may start later, or be away.
func New(ctx context.Context, config Config, log *slog.Logger) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("configuring audit: %w", err)
	}
	spec, err := auditapi.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("reading the API's description: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &Service{config: config, log: log, metrics: newMetrics(registry)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.server, err = httpserver.New(httpserver.Options{
		Addr: config.HTTPAddr, Spec: spec, Registry: registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	auditapi.RegisterHandlers(s.server.Echo(), auditapi.NewStrictHandler(s, nil))
	return s, s.server.Listen(ctx)
}

// Addr is host:port of the API.
func (s *Service) Addr() string { return s.server.Addr() }

// Run audits again and again until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return service.Run(ctx, s.log, s.config.DrainTimeout,
		service.Component{Name: "audits", Run: s.repeat, Stop: func(context.Context) error {
			s.cancel()
			return nil
		}},
		s.server.Component(),
	)
}

func (s *Service) repeat(ctx context.Context) error {
	for {
		if _, err := s.audit(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "no audit", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.config.Every):
		}
	}
}

// audit makes a report, or waits for the one that is being made.
func (s *Service) audit(ctx context.Context) (*Report, error) {
	done := s.running.DoChan("", func() (any, error) { //nolint:contextcheck // it outlives the request, see ctx
		ctx, cancel := context.WithTimeout(s.ctx, s.config.Timeout)
		defer cancel()
		r, err := Since(ctx, s.config.system(), s.config.since(time.Now()))
		s.metrics.count(r, err)
		if err != nil {
			return nil, err
		}
		s.last.Store(r)
		for _, f := range r.Findings() {
			s.log.ErrorContext(ctx, "the books differ", slog.String("order_id", f.Order), slog.String("what", f.What))
		}
		return r, nil
	})
	select {
	case result := <-done:
		r, _ := result.Val.(*Report)
		return r, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// patience is how long a request waits for an audit; the server's own limit is above it.
const patience = time.Minute

// RunConservation answers POST /v1/audits/conservation.
func (s *Service) RunConservation(
	ctx context.Context, _ auditapi.RunConservationRequestObject,
) (auditapi.RunConservationResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := s.audit(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, httpserver.NewProblem(httpserver.CodeUnavailable,
			"The audit takes longer than a minute and goes on: GET /v1/audits/conservation has its report in the end.",
			httpserver.WithRetryAfter(patience), httpserver.WithCause(err))
	case err != nil:
		return nil, away(err)
	}
	return auditapi.RunConservation200JSONResponse(r.Report), nil
}

// GetConservation answers GET /v1/audits/conservation.
func (s *Service) GetConservation(
	context.Context, auditapi.GetConservationRequestObject,
) (auditapi.GetConservationResponseObject, error) {
	r := s.last.Load()
	if r == nil {
		return nil, httpserver.NewProblem(httpserver.CodeUnavailable,
			"No audit has ended yet. POST to this address waits for one and says what keeps it from ending.",
			httpserver.WithRetryAfter(5*time.Second))
	}
	return auditapi.GetConservation200JSONResponse(r.Report), nil
}

// away says that nothing can be said: some part of the system did not answer.
func away(err error) error {
	return httpserver.NewProblem(httpserver.CodeUnavailable,
		fmt.Sprintf("The books cannot be compared: %v. Ask again when that part is back.", err),
		httpserver.WithRetryAfter(10*time.Second), httpserver.WithCause(err))
}
