package payment

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/pkg/money"
	"recourse.dev/pkg/worker"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

type (
	authorizeCommand = worker.Command[*paymentv1.AuthorizePayment]
	voidCommand      = worker.Undo[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization]
	captureCommand   = worker.Command[*paymentv1.CapturePayment]
)

// handles of a done authorization, by which its void and people find it.
const (
	handleIntent     = "intent_id"
	handleGatewayRef = "gateway_ref"
	handleCapture    = "capture_ref"
)

// laterVoid is how long a void waits for another operation in flight on its intent.
const laterVoid = 5 * time.Second

// Handlers answer the payment commands. Every handler comes in three parts: what is written before the call, the call,
// and what is written after it.
type Handlers struct {
	pool        *pgxpool.Pool
	gateway     Gateway
	policy      Policy
	probeDelays []time.Duration
	now         func() time.Time
	log         *slog.Logger
	metrics     *metrics
	prepared    prepared
}

// NewHandlers makes the handlers. The provider is asked about an unknown outcome after each of probeDelays in turn, and
// then again and again after the last. The registerer may be nil.
func NewHandlers(
	pool *pgxpool.Pool, gateway Gateway, policy Policy, probeDelays []time.Duration,
	log *slog.Logger, reg prometheus.Registerer,
) *Handlers {
	return &Handlers{
		pool: pool, gateway: gateway, policy: policy, probeDelays: probeDelays,
		log: log, metrics: newMetrics(reg),
	}
}

// CheckCredentials says whether the provider has rejected our credentials; it is meant for readiness. Payments wait, in
// doubt, until the setting is mended: a refusal would blame the order for it.
func (h *Handlers) CheckCredentials(context.Context) error {
	if reason := h.metrics.alarm.Load(); reason != nil {
		return fmt.Errorf("the payment provider does not accept us, check GATEWAY_API_KEY: %s", *reason)
	}
	return nil
}

// Register hands the handlers to the worker, whose clock is theirs.
func (h *Handlers) Register(w *worker.Worker) {
	h.now = w.Now
	worker.HandleCall(w, worker.CallHandler[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization]{
		Prepare: h.prepareAuthorize, Call: h.callAuthorize, Settle: h.settleAuthorize,
		PrepareUndo: h.prepareVoid, CallUndo: h.callVoid, SettleUndo: h.settleVoid,
	})
	worker.HandleCall(w, worker.CallHandler[*paymentv1.CapturePayment, worker.NoUndo]{
		Prepare: h.prepareCapture, Call: h.callCapture, Settle: h.settleCapture,
	})
}

func (h *Handlers) prepareAuthorize(
	ctx context.Context, tx pgx.Tx, batch []*authorizeCommand,
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	var (
		intents []newIntent
		places  []int
	)
	for i, c := range batch {
		if no := CheckAuthorize(c.Input); no != nil {
			outcomes[i] = worker.Refused(no.Code, no.Detail)
			continue
		}
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("making an intent id: %w", err)
		}
		intents = append(intents, newIntent{
			id: id, customerID: printable(c.Input.GetCustomerId()), reference: printable(c.Input.GetReference()),
			request: authorizeRequest(c),
		})
		places = append(places, i)
	}
	calls := h.gateway.Calls(Request{Kind: KindAuthorize})
	opened, err := openIntents(ctx, tx, h.gateway.Name(), calls, intents, h.now())
	if err != nil {
		return nil, err
	}
	for n, i := range places {
		if !opened[intents[n].id] {
			outcomes[i] = worker.Refused(CodeAlreadyAuthorized,
				fmt.Sprintf("order %s has an authorization already", batch[i].OrderID))
			continue
		}
		h.prepared.put(intents[n].request.Key, intents[n].request)
		outcomes[i] = worker.Call()
	}
	return outcomes, nil
}

func authorizeRequest(c *authorizeCommand) Request {
	key := OperationKey(c.Key, KindAuthorize, 1)
	return Request{
		Kind: KindAuthorize, OperationID: OperationID(key), OrderID: c.OrderID, Key: key,
		Amount:       money.Money{Minor: c.Input.GetAmountMinor(), Currency: money.Currency(c.Input.GetCurrency())},
		PaymentToken: c.Input.GetPaymentToken(),
	}
}

func (h *Handlers) callAuthorize(ctx context.Context, c *authorizeCommand) (any, error) {
	return h.call(ctx, question{key: OperationKey(c.Key, KindAuthorize, 1), kind: KindAuthorize}, c.Probe)
}

func (h *Handlers) settleAuthorize(
	ctx context.Context, tx pgx.Tx, batch []worker.Settled[*paymentv1.AuthorizePayment],
) ([]worker.Outcome, error) {
	returned := make([]returned, len(batch))
	for i, s := range batch {
		returned[i] = returnedFrom(s.Header, s.Result, s.Err)
	}
	return h.settle(ctx, tx, returned, func(s settled, o Succeeded) worker.Outcome {
		return worker.Done(
			effect("authorization", s.operation.amount, o.IntentRef),
			map[string]string{handleIntent: s.operation.intentID.String(), handleGatewayRef: o.IntentRef})
	}, refuse)
}

func (h *Handlers) prepareVoid(ctx context.Context, tx pgx.Tx, batch []*voidCommand) ([]worker.Outcome, error) {
	ids := make([]uuid.UUID, len(batch))
	for i, u := range batch {
		id, err := intentOf(u)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	intents, err := lockIntents(ctx, tx, ids, nil)
	if err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]*Intent, len(intents))
	for _, i := range intents {
		byID[i.ID] = i
	}
	outcomes := make([]worker.Outcome, len(batch))
	var operations []begun
	for i, u := range batch {
		intent := byID[ids[i]]
		if intent == nil {
			return nil, fmt.Errorf("voiding %s: intent %s is not in this database", u.Key, ids[i])
		}
		switch intent.BeginVoid() {
		case VoidCall:
			r := intent.request(KindVoid, OperationKey(u.Key, KindVoid, 1+intent.FailedVoids), intent.Headroom())
			operations = append(operations, begun{intent.ID, r})
			h.prepared.put(OperationKey(u.Key, KindVoid, 1), r)
			outcomes[i] = worker.Call()
		case VoidNothing:
			outcomes[i] = worker.Undone()
		case VoidLater:
			outcomes[i] = worker.Retry(laterVoid, fmt.Sprintf("intent %s is %s", intent.ID, intent.State))
		case VoidTooLate:
			outcomes[i] = worker.UndoRefused(CodeAlreadyCaptured, fmt.Sprintf("intent %s is charged: refund it", intent.ID))
		}
	}
	calls := h.gateway.Calls(Request{Kind: KindVoid})
	return outcomes, beginOperations(ctx, tx, KindVoid, IntentVoiding, calls, operations, h.now())
}

func (h *Handlers) callVoid(ctx context.Context, u *voidCommand) (any, error) {
	intentID, err := intentOf(u)
	if err != nil {
		return nil, err
	}
	return h.call(ctx, question{OperationKey(u.Key, KindVoid, 1), KindVoid, intentID}, u.Probe)
}

func (h *Handlers) settleVoid(
	ctx context.Context, tx pgx.Tx, batch []worker.SettledUndo[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization],
) ([]worker.Outcome, error) {
	returned := make([]returned, len(batch))
	for i, s := range batch {
		returned[i] = returnedFrom(s.Header, s.Result, s.Err)
	}
	return h.settle(ctx, tx, returned, func(settled, Succeeded) worker.Outcome {
		return worker.Undone()
	}, func(o Refused) worker.Outcome {
		if o.Class == FailureExpired {
			// Nothing is held any more, which is all that the undo wants.
			return worker.Undone()
		}
		return worker.UndoRefused(o.Code, o.Detail)
	})
}

// intentOf reads which intent the effect of an undo is.
func intentOf(u *voidCommand) (uuid.UUID, error) {
	id, err := uuid.Parse(u.DoReply.GetDone().GetHandles()[handleIntent])
	if err != nil {
		return uuid.Nil, fmt.Errorf("reading %s of the reply to %s: %w", handleIntent, u.Key, err)
	}
	return id, nil
}

func (h *Handlers) prepareCapture(ctx context.Context, tx pgx.Tx, batch []*captureCommand) ([]worker.Outcome, error) {
	orders := make([]uuid.UUID, len(batch))
	for i, c := range batch {
		orders[i] = c.OrderID
	}
	intents, err := lockIntents(ctx, tx, nil, orders)
	if err != nil {
		return nil, err
	}
	byOrder := make(map[uuid.UUID]*Intent, len(intents))
	for _, i := range intents {
		// Oldest first, so the newest stays, unless one is live: there is one such at most.
		if before := byOrder[i.OrderID]; before == nil || !before.Live() {
			byOrder[i.OrderID] = i
		}
	}
	outcomes := make([]worker.Outcome, len(batch))
	var operations []begun
	for i, c := range batch {
		intent := byOrder[c.OrderID]
		if intent == nil {
			outcomes[i] = worker.Refused(CodeNotAuthorized, fmt.Sprintf("order %s has no authorization", c.OrderID))
			continue
		}
		amount := money.Money{Minor: c.Input.GetAmountMinor(), Currency: money.Currency(c.Input.GetCurrency())}
		if no := intent.BeginCapture(amount); no != nil {
			outcomes[i] = worker.Refused(no.Code, no.Detail)
			continue
		}
		key := OperationKey(c.Key, KindCapture, 1)
		r := intent.request(KindCapture, key, amount.Minor)
		operations = append(operations, begun{intent.ID, r})
		h.prepared.put(key, r)
		outcomes[i] = worker.Call()
	}
	calls := h.gateway.Calls(Request{Kind: KindCapture})
	return outcomes, beginOperations(ctx, tx, KindCapture, IntentCapturing, calls, operations, h.now())
}

func (h *Handlers) callCapture(ctx context.Context, c *captureCommand) (any, error) {
	return h.call(ctx, question{key: OperationKey(c.Key, KindCapture, 1), kind: KindCapture}, c.Probe)
}

func (h *Handlers) settleCapture(
	ctx context.Context, tx pgx.Tx, batch []worker.Settled[*paymentv1.CapturePayment],
) ([]worker.Outcome, error) {
	returned := make([]returned, len(batch))
	for i, s := range batch {
		returned[i] = returnedFrom(s.Header, s.Result, s.Err)
	}
	return h.settle(ctx, tx, returned, func(s settled, o Succeeded) worker.Outcome {
		return worker.Done(
			effect("capture", s.operation.amount, o.Ref), map[string]string{handleCapture: o.Ref})
	}, refuse)
}

func effect(kind string, amount money.Money, handle string) []*sagav1.Effect {
	return []*sagav1.Effect{{Kind: kind, Amount: amount.Minor, Unit: string(amount.Currency), Handle: handle}}
}

func refuse(o Refused) worker.Outcome { return worker.Refused(o.Code, o.Detail) }
