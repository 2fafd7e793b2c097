package payment

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/worker"
)

// question names an operation whose outcome is wanted.
type question struct {
	key  string
	kind Kind
	// intentID finds a void that is not the first of its intent and so has another key.
	intentID uuid.UUID
}

// inquiry is what a call brought back.
type inquiry struct {
	operationID uuid.UUID
	outcome     Outcome
	attempts    []attempt
}

// call asks the provider. The first time it asks for the effect; after that, or when this process does not remember
// having prepared the operation, it asks what became of it.
func (h *Handlers) call(ctx context.Context, q question, probe int) (any, error) {
	r, fresh := h.prepared.take(q.key)
	if fresh && probe == 0 {
		return h.do(ctx, r, 1), nil
	}
	return h.resolve(ctx, q)
}

// do asks for the effect. The attempts numbered from first on are written down already.
func (h *Handlers) do(ctx context.Context, r Request, first int) inquiry {
	planned := h.gateway.Calls(r)
	plannedAt := h.now()
	answer := h.gateway.Do(ctx, r)
	h.metrics.observe(r.Kind, answer)
	result := inquiry{operationID: r.OperationID, outcome: answer.Outcome}
	for i, x := range answer.Exchanges {
		result.attempts = append(result.attempts, attempt{r.OperationID, first + i, x})
	}
	for i := len(answer.Exchanges); i < len(planned); i++ {
		x := Exchange{Call: planned[i], SentAt: plannedAt, EndedAt: plannedAt, Outcome: ExchangeNotSent}
		result.attempts = append(result.attempts, attempt{r.OperationID, first + i, x})
	}
	return result
}

// resolve asks what became of an operation in doubt. If the provider knows nothing of it, the same request is sent
// again under the same key, as long as the provider remembers keys; a request that is still on its way or was done
// meanwhile is then a repeat.
func (h *Handlers) resolve(ctx context.Context, q question) (any, error) {
	open, err := loadOpenOperation(ctx, h.pool, q)
	if err != nil {
		return nil, err
	}
	r, asked := open.request, h.now()
	answer := h.gateway.Probe(ctx, r)
	h.metrics.observe(r.Kind, answer)
	result := inquiry{operationID: r.OperationID, outcome: answer.Outcome}
	next := open.lastAttempt + 1
	for _, x := range answer.Exchanges {
		result.attempts = append(result.attempts, attempt{r.OperationID, next, x})
		next++
	}
	missing, ok := answer.Outcome.(NotFound)
	if !ok {
		return result, nil
	}
	if !h.policy.MaySendAgain(open.requestedAt, asked) {
		result.outcome = Unknown{DoubtNotVisible, "the provider shows no effect yet"}
		if h.policy.Undecided(open.requestedAt, asked) == OperationManual {
			result.outcome = Unknown{DoubtKeyForgotten, "the provider shows no effect, and it is too late to send it again"}
		}
		return result, nil
	}
	if r.IntentRef == "" {
		r.IntentRef = missing.IntentRef
	}
	if err := planAttempts(ctx, h.pool, r.OperationID, next, h.gateway.Calls(r), h.now()); err != nil {
		return nil, err
	}
	if err := crash.Fail(crash.PaymentAfterPlan); err != nil {
		return nil, err
	}
	again := h.do(ctx, r, next)
	again.attempts = slices.Concat(result.attempts, again.attempts)
	return again, nil
}

// returned is a call that has come back, or failed to.
type returned struct {
	key     string
	probe   int
	inquiry *inquiry
	err     error
}

func returnedFrom(header worker.Header, result any, err error) returned {
	r := returned{key: header.Key, probe: header.Probe, err: err}
	if i, ok := result.(inquiry); ok {
		r.inquiry = &i
	}
	return r
}

// settle writes what the calls have taught and says it: done and refused for what is known, in doubt for the rest.
// A call that brought nothing back leaves its operation as it is, "sent".
func (h *Handlers) settle(
	ctx context.Context, tx pgx.Tx, batch []returned,
	done func(settled, Succeeded) worker.Outcome, refused func(Refused) worker.Outcome,
) ([]worker.Outcome, error) {
	ids := make([]uuid.UUID, 0, len(batch))
	for _, r := range batch {
		if r.inquiry != nil {
			ids = append(ids, r.inquiry.operationID)
		}
	}
	operations, err := lockOperations(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	now := h.now()
	outcomes := make([]worker.Outcome, len(batch))
	all := make([]settled, 0, len(batch))
	for i, r := range batch {
		delay := h.probeDelay(r.probe)
		if r.inquiry == nil {
			h.log.WarnContext(ctx, "payment call failed", "effect_key", r.key, "probe", r.probe, "error", r.err)
			outcomes[i] = worker.InDoubt(delay, fmt.Sprintf("the call failed: %v", r.err))
			continue
		}
		operation, ok := operations[r.inquiry.operationID]
		if !ok {
			return nil, fmt.Errorf("settling %s: operation %s is not in this database", r.key, r.inquiry.operationID)
		}
		if operation.state == OperationSucceeded || operation.state == OperationFailed {
			return nil, fmt.Errorf("settling %s: operation %s is %s already", r.key, operation.id, operation.state)
		}
		s := h.learn(operation, r, now, delay)
		h.report(ctx, operation, s)
		all = append(all, s)
		switch o := s.outcome.(type) {
		case Succeeded:
			outcomes[i] = done(s, o)
		case Refused:
			outcomes[i] = refused(o)
		case Unknown:
			outcomes[i] = worker.InDoubt(delay, fmt.Sprintf("%s: %s", o.Reason, o.Detail))
		case NotFound:
			outcomes[i] = worker.InDoubt(delay, string(DoubtNotVisible))
		}
	}
	return outcomes, settleAll(ctx, tx, all, now)
}

// learn is what a returned call means for its operation.
func (h *Handlers) learn(operation lockedOperation, r returned, now time.Time, delay time.Duration) settled {
	s := settled{operation: operation, outcome: r.inquiry.outcome, probes: r.probe, attempts: r.inquiry.attempts}
	switch s.outcome.(type) {
	case Succeeded:
		s.state = OperationSucceeded
	case Refused:
		s.state = OperationFailed
	case Unknown, NotFound:
		s.state = h.policy.Undecided(operation.requestedAt, now)
		s.nextProbe = now.Add(delay)
	}
	s.settlement, _ = Settle(operation.kind, operation.amount.Minor, s.outcome)
	return s
}

// report says in the log what people should know: an outcome that has just become unknown, was resolved, or needs them.
func (h *Handlers) report(ctx context.Context, before lockedOperation, s settled) {
	if before.state == s.state || before.state == OperationSent && s.state != OperationUnknown {
		return
	}
	level := slog.LevelInfo
	switch s.state {
	case OperationUnknown:
		level = slog.LevelWarn
	case OperationManual:
		level = slog.LevelError
	case OperationRequested, OperationSent, OperationSucceeded, OperationFailed:
	}
	h.log.LogAttrs(ctx, level, "payment operation changed",
		slog.String("operation_id", s.operation.id.String()), slog.String("kind", string(s.operation.kind)),
		slog.String("state", string(s.state)), slog.Any("outcome", s.outcome), slog.Int("probes", s.probes))
}

// probeDelay is how long to wait after so many questions. Up to a tenth is added by chance, so that an outage does not
// end in all questions at once.
func (h *Handlers) probeDelay(probes int) time.Duration {
	delay := h.probeDelays[min(probes, len(h.probeDelays)-1)]
	return delay + rand.N(delay/10+1)
}

// prepared remembers, from the transaction that prepared an operation to its call, what to ask for, so that the call
// need not read it again. It is a shortcut and nothing more: what is not in it is read from the database.
type prepared struct {
	mu       sync.Mutex
	requests map[string]Request
}

// maxPrepared bounds what is remembered of operations whose call never comes, because their transaction failed and
// another worker has taken them over.
const maxPrepared = 20_000

func (p *prepared) put(key string, r Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests == nil || len(p.requests) >= maxPrepared {
		p.requests = make(map[string]Request)
	}
	p.requests[key] = r
}

func (p *prepared) take(key string) (Request, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.requests[key]
	delete(p.requests, key)
	return r, ok
}
