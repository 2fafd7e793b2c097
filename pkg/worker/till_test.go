package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// till is a domain with an outside world: it writes an attempt, asks the gateway, and writes what came of it.
const (
	tillDDL = `CREATE TABLE payment (
    key    text PRIMARY KEY,
    status text NOT NULL
)`

	tokenPlain        = "plain"
	tokenDeclined     = "declined"
	tokenLost         = "lost"          // authorized, but the first answers are lost
	tokenLostDeclined = "lost_declined" // declined, but the first answers are lost
	tokenUntouched    = "untouched"     // the first requests do not arrive
	tokenPanic        = "panic"         // the first call panics
	tokenBadSettle    = "bad_settle"    // Settle panics for it
	tokenVoidLost     = "void_lost"     // voided, but the first answers are lost
)

var errNoAnswer = errors.New("no answer from the gateway")

// gateway is the outside world. It knows a request by its key, as real ones do.
type gateway struct {
	mu     sync.Mutex
	status map[string]string // key -> authorized, declined, voided
	asked  map[string]int
	// silent is how many answers of a key are lost.
	silent int
	// held, when set, keeps every request waiting until it is closed.
	held chan struct{}
	// deaf requests do not notice that nobody waits for them any more.
	deaf bool
	// voidsLost loses the answers of all voids.
	voidsLost bool
	// arrived gets a token for every request.
	arrived chan struct{}
}

func newGateway() *gateway {
	return &gateway{
		status: make(map[string]string), asked: make(map[string]int), silent: 1, arrived: make(chan struct{}, 1000),
	}
}

func (g *gateway) blocked() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, status := range g.status {
		if status == "authorized" {
			n++
		}
	}
	return n
}

func (g *gateway) authorize(ctx context.Context, c *worker.Command[*paymentv1.AuthorizePayment]) (any, error) {
	g.arrived <- struct{}{}
	if g.held != nil && g.deaf {
		<-g.held
	} else if g.held != nil {
		select {
		case <-g.held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[c.Key]++
	first := g.asked[c.Key] <= g.silent
	token := c.Input.GetPaymentToken()
	if token == tokenPanic && first {
		panic("the line crackled")
	}
	if token == tokenUntouched && first {
		return nil, errNoAnswer
	}
	if _, known := g.status[c.Key]; !known {
		g.status[c.Key] = "authorized"
		if token == tokenDeclined || token == tokenLostDeclined {
			g.status[c.Key] = "declined"
		}
	}
	if first && (token == tokenLost || token == tokenLostDeclined) {
		return nil, errNoAnswer
	}
	return g.status[c.Key], nil
}

func (g *gateway) void(
	_ context.Context, u *worker.Undo[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization],
) (any, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked["void "+u.Key]++
	g.status[u.Key] = "voided"
	if g.voidsLost || u.Did.GetPaymentToken() == tokenVoidLost && g.asked["void "+u.Key] <= g.silent {
		return nil, errNoAnswer
	}
	return "voided", nil
}

func (g *gateway) loseVoids() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.voidsLost = true
}

func (g *gateway) asks(key string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[key]
}

func registerTill(g *gateway) func(*worker.Worker) {
	return func(w *worker.Worker) {
		worker.HandleCall(w, worker.CallHandler[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization]{
			Prepare: func(
				ctx context.Context, tx pgx.Tx, batch []*worker.Command[*paymentv1.AuthorizePayment],
			) ([]worker.Outcome, error) {
				var outcomes []worker.Outcome
				var keys []string
				for _, c := range batch {
					keys = append(keys, c.Key)
					outcomes = append(outcomes, worker.Call())
				}
				_, err := tx.Exec(ctx, `INSERT INTO payment (key, status) SELECT unnest($1::text[]), 'asked'`, keys)
				return outcomes, err
			},
			Call:   g.authorize,
			Settle: settleAuthorization,
			// PrepareUndo is left out: every undo is a call.
			CallUndo:   g.void,
			SettleUndo: settleVoid,
		})
	}
}

func settleAuthorization(
	ctx context.Context, tx pgx.Tx, batch []worker.Settled[*paymentv1.AuthorizePayment],
) ([]worker.Outcome, error) {
	var outcomes []worker.Outcome
	var keys, statuses []string
	for _, s := range batch {
		if s.Err != nil {
			outcomes = append(outcomes, worker.InDoubt(0, s.Err.Error()))
			continue
		}
		if s.Input.GetPaymentToken() == tokenBadSettle {
			panic("the ledger is upside down")
		}
		status := s.Result.(string)
		keys, statuses = append(keys, s.Key), append(statuses, status)
		if status == "declined" {
			outcomes = append(outcomes, worker.Refused("card_declined", "the card was declined"))
			continue
		}
		outcomes = append(outcomes, worker.Done(
			[]*sagav1.Effect{{
				Kind: "authorization", Amount: s.Input.GetAmountMinor(), Unit: s.Input.GetCurrency(), Handle: s.Key,
			}}, map[string]string{"gateway_ref": s.Key}))
	}
	return outcomes, setPayments(ctx, tx, keys, statuses)
}

func settleVoid(
	ctx context.Context, tx pgx.Tx,
	batch []worker.SettledUndo[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization],
) ([]worker.Outcome, error) {
	var outcomes []worker.Outcome
	var keys, statuses []string
	for _, s := range batch {
		if s.Err != nil {
			outcomes = append(outcomes, worker.InDoubt(0, s.Err.Error()))
			continue
		}
		keys = append(keys, s.DoReply.GetDone().GetHandles()["gateway_ref"])
		statuses = append(statuses, s.Result.(string))
		outcomes = append(outcomes, worker.Undone())
	}
	return outcomes, setPayments(ctx, tx, keys, statuses)
}

func setPayments(ctx context.Context, tx pgx.Tx, keys, statuses []string) error {
	_, err := tx.Exec(ctx, `
		UPDATE payment AS p
		SET status = u.status
		FROM unnest($1::text[], $2::text[]) AS u (key, status)
		WHERE p.key = u.key`, keys, statuses)
	return err
}

func newTill(t *testing.T, options ...workertest.Option) (*workertest.Kit, *gateway) {
	t.Helper()
	g := newGateway()
	return workertest.New(t, mustDB(t, tillDDL), registerTill(g), options...), g
}

func authorize(token string) *paymentv1.AuthorizePayment {
	return &paymentv1.AuthorizePayment{
		Meta: workertest.Meta("authorize_payment"), AmountMinor: 4200, Currency: "EUR", PaymentToken: token,
	}
}

func void(do *paymentv1.AuthorizePayment) *paymentv1.VoidAuthorization {
	return &paymentv1.VoidAuthorization{Meta: workertest.UndoMeta(do.GetMeta())}
}

// gateways remembers the outside world of each kit.
type gateways struct {
	mu    sync.Mutex
	byKit map[*workertest.Kit]*gateway
}

func newGateways() *gateways { return &gateways{byKit: make(map[*workertest.Kit]*gateway)} }

func (g *gateways) put(kit *workertest.Kit, gw *gateway) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byKit[kit] = gw
}

func (g *gateways) of(kit *workertest.Kit) *gateway {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byKit[kit]
}
