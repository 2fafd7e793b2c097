package notification

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/coalesce"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/worker"
	notificationv1 "recourse.dev/schemas/gen/recourse/notification/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// retrySoon is when the coordinator shall ask again about a mail that another saga of the order is sending.
const retrySoon = 5 * time.Second

// errNotOpen says that the notification was settled by somebody else meanwhile.
var errNotOpen = errors.New("the notification is not open any more")

// handler does what commands ask for. Prepare and Settle are transactions of a whole batch; Call is one conversation
// with the mail server, many of them at a time.
type handler struct {
	mailer      Mailer
	begin       *coalesce.Group[uuid.UUID, *try]
	domain      string
	giveUpAfter time.Duration
	now         func() time.Time

	mu       sync.Mutex
	compiled map[templateID]*compiled
}

type templateID struct {
	key, locale string
	version     int32
}

// beginLinger lets the calls of a poll, which come one after the other, store their attempts in one transaction.
const beginLinger = 2 * time.Millisecond

func newHandler(pool *pgxpool.Pool, mailer Mailer, domain string, giveUpAfter time.Duration) *handler {
	h := &handler{
		mailer: mailer, domain: domain, giveUpAfter: giveUpAfter,
		compiled: make(map[templateID]*compiled),
	}
	h.begin = coalesce.New(func(ctx context.Context, ids []uuid.UUID) ([]*try, error) {
		return begin(ctx, pool, ids, h.now())
	}, coalesce.Options{Linger: beginLinger})
	return h
}

// register tells the worker, whose clock is ours, what this service can do.
func (h *handler) register(w *worker.Worker) {
	h.now = w.Now
	worker.HandleCall(w, worker.CallHandler[*notificationv1.SendConfirmation, worker.NoUndo]{
		Prepare: h.prepare,
		Call:    h.call,
		Settle:  h.settle,
	})
}

// close waits for the statements that are on their way.
func (h *handler) close() { h.begin.Close() }

// prepare renders and queues. What cannot be sent at all is refused here.
func (h *handler) prepare(
	ctx context.Context, tx pgx.Tx, batch []*worker.Command[*notificationv1.SendConfirmation],
) ([]worker.Outcome, error) {
	sources, err := activeTemplates(ctx, tx, templateConfirmation)
	if err != nil {
		return nil, err
	}
	byLocale := make(map[string]source, len(sources))
	for _, s := range sources {
		byLocale[s.Locale] = s
	}
	outcomes := make([]worker.Outcome, len(batch))
	drafts, drafted := make([]draft, 0, len(batch)), make([]int, 0, len(batch))
	for i, c := range batch {
		if why := checkEmail(c.Input.GetEmail()); why != "" {
			outcomes[i] = worker.Refused(CodeAddressInvalid, why)
			continue
		}
		rendered, err := h.render(byLocale, c.Input)
		if err != nil {
			outcomes[i] = worker.Refused(CodeContentInvalid, err.Error())
			continue
		}
		drafts = append(drafts, draft{
			NotificationID: NotificationID(c.SagaID, c.Key), DedupeKey: dedupeKey(c.OrderID, templateConfirmation, 1),
			OrderID: c.OrderID, SagaID: c.SagaID, Step: c.Step, Generation: c.Generation,
			Address: c.Input.GetEmail(), Name: c.Input.GetName(), Reference: c.Input.GetReference(), content: rendered,
		})
		drafted = append(drafted, i)
	}
	queued, err := insertDrafts(ctx, tx, templateConfirmation, drafts, h.now())
	if err != nil {
		return nil, err
	}
	var doubled []string
	for j, i := range drafted {
		if outcomes[i] = worker.Call(); !queued[drafts[j].NotificationID] {
			doubled = append(doubled, drafts[j].DedupeKey)
		}
	}
	stands, err := standingFor(ctx, tx, doubled)
	if err != nil {
		return nil, err
	}
	for j, i := range drafted {
		if !queued[drafts[j].NotificationID] {
			outcomes[i] = saidBefore(stands[drafts[j].DedupeKey])
		}
	}
	return outcomes, nil
}

// saidBefore answers a command whose mail another saga or generation of the order has sent, or is sending.
func saidBefore(s standing) worker.Outcome {
	switch s.State {
	case Sent:
		return sent(s.NotificationID)
	case UnknownDelivery:
		return worker.Refused(CodeDeliveryUnknown, fmt.Sprintf("notification %s may have arrived", s.NotificationID))
	case Queued, InDoubt, Suppressed, Bounced, Undeliverable:
	}
	return worker.Retry(retrySoon, fmt.Sprintf("notification %s for the same occasion is under way", s.NotificationID))
}

func sent(id uuid.UUID) worker.Outcome {
	return worker.Done([]*sagav1.Effect{{Kind: "notification", Amount: 1, Unit: "mail", Handle: id.String()}},
		map[string]string{"notification_id": id.String()})
}

// render fills the template of the best locale in.
func (h *handler) render(byLocale map[string]source, in *notificationv1.SendConfirmation) (content, error) {
	locale, ok := pickLocale(in.GetLocale(), func(l string) bool {
		_, has := byLocale[l]
		return has
	})
	if !ok {
		return content{}, fmt.Errorf("there is no active template %s in English; insert one", templateConfirmation)
	}
	data, err := newConfirmation(in)
	if err != nil {
		return content{}, err
	}
	t, err := h.compile(byLocale[locale])
	if err != nil {
		return content{}, err
	}
	return t.render(data)
}

// compile parses each version of a template once; a version never changes.
func (h *handler) compile(s source) (*compiled, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := templateID{s.Key, s.Locale, s.Version}
	if c, ok := h.compiled[id]; ok {
		return c, nil
	}
	c, err := compile(s)
	if err != nil {
		return nil, err
	}
	h.compiled[id] = c
	return c, nil
}

// answer is what became of the wish to send one notification.
type answer struct {
	Found   finding
	Try     *try
	Outcome AttemptOutcome
	Code    int
	Detail  string
	EndedAt time.Time
}

// call sends one mail, unless the order is over or too many answers were lost. The try is stored, and the order's claim
// looked at, in the same instant right before; so if the process dies in the middle, the next one knows that the mail
// may have gone out.
func (h *handler) call(ctx context.Context, c *worker.Command[*notificationv1.SendConfirmation]) (any, error) {
	id := NotificationID(c.SagaID, c.Key)
	t, err := h.begin.Do(ctx, id)
	if err == nil {
		err = crash.Fail(crash.NotificationAfterIntent)
	}
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, fmt.Errorf("sending notification %s: %w", id, errNotOpen)
	}
	if t.AttemptNo == 0 && t.Lost >= maxLostAnswers {
		return &answer{Found: foundSpent, Try: t, Detail: "the answers of two tries were lost; it may have arrived"}, nil
	}
	if t.AttemptNo == 0 {
		return &answer{Found: foundSuppressed, Try: t, Detail: "the order was no longer confirmed"}, nil
	}
	delivery := h.mailer.Send(ctx, Mail{
		MessageID: MessageID(id, h.domain), OrderID: t.OrderID.String(), To: t.Address, Name: t.Name,
		Subject: t.Subject, Text: t.Text, HTML: t.HTML, Date: t.CreatedAt,
	})
	if err := crash.Fail(crash.NotificationAfterSend); err != nil {
		return nil, err
	}
	a := &answer{Try: t, EndedAt: h.now()}
	switch d := delivery.(type) {
	case Accepted:
		a.Found, a.Outcome, a.Detail = foundAccepted, AttemptAccepted, d.Detail
	case Rejected:
		a.Found, a.Outcome, a.Code, a.Detail = foundRefused, AttemptRefused, d.Code, d.Detail
	case NotSent:
		a.Found, a.Outcome, a.Code, a.Detail = foundNotSent, AttemptNotSent, d.Code, d.Detail
		if tooOld(t.CreatedAt, a.EndedAt, h.giveUpAfter) {
			a.Found = foundTooOld
		}
	case Unknown:
		a.Found, a.Outcome, a.Detail = foundUnknown, AttemptUnknown, d.Detail
	}
	return a, nil
}

// settle writes what became of the mails.
func (h *handler) settle(
	ctx context.Context, tx pgx.Tx, batch []worker.Settled[*notificationv1.SendConfirmation],
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	rows := make([]settled, 0, len(batch))
	for i, c := range batch {
		a, ok := c.Result.(*answer)
		if !ok {
			// Nothing is known beyond what begin has stored; the next try reads it there.
			outcomes[i] = worker.InDoubt(0, fmt.Sprintf("sending did not come to an end: %v", c.Err))
			continue
		}
		id := NotificationID(c.SagaID, c.Key)
		state := next(a.Found, a.Try.Lost)
		rows = append(rows, settled{
			NotificationID: id, State: state, Detail: a.Detail, AttemptNo: a.Try.AttemptNo, Outcome: a.Outcome,
			SMTPCode: a.Code, EndedAt: a.EndedAt,
		})
		switch state {
		case Sent:
			outcomes[i] = sent(id)
		case Queued, InDoubt:
			outcomes[i] = worker.InDoubt(0, a.Detail)
		case Suppressed, Bounced, Undeliverable, UnknownDelivery:
			outcomes[i] = worker.Refused(refusalCode(state), a.Detail)
		}
	}
	return outcomes, settle(ctx, tx, rows, h.now())
}
