package gatewaysim

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"recourse.dev/pkg/sandbox"
)

// attempt is one POST on its way to the ledger.
type attempt struct {
	route       string
	key         string // empty without an Idempotency-Key
	fingerprint string
	// intent is the id of the intent it is about, for the faults of its token.
	intent string
}

// handler does one POST of the API.
type handler func(*sandbox.Call, *attempt) sandbox.Answer

// change works on an intent: it gets what the intent is now and says what becomes of it.
type change func(intent Intent, declined *Error, now time.Time) outcome

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	post := func(pattern, route string, do handler) {
		mux.Handle("POST "+pattern, s.provider.Handle(route, s.once(route, do)))
	}
	post("/v1/payment_intents", routeCreate, s.create)
	post("/v1/payment_intents/{id}/confirm", routeConfirm, s.confirm)
	post("/v1/payment_intents/{id}/capture", routeCapture, s.capture)
	post("/v1/payment_intents/{id}/cancel", routeCancel, s.cancel)
	post("/v1/refunds", routeRefund, s.refund)
	mux.Handle("GET /v1/payment_intents/{id}", s.provider.Handle(routeGet, s.getIntent))
	mux.Handle("GET /v1/payment_intents", s.provider.Handle(routeList, s.listIntents))
	mux.Handle("GET /v1/refunds/{id}", s.provider.Handle(routeGet, s.getRefund))
	mux.Handle("GET /v1/refunds", s.provider.Handle(routeList, s.listRefunds))
	mux.HandleFunc("GET /admin/ledger", func(w http.ResponseWriter, r *http.Request) {
		s.expireDue()
		q := r.URL.Query()
		sandbox.Respond(w, s.book.ledger(span{only: q.Get("order_id"), after: q.Get("after"), upto: q.Get("to")}))
	})
	mux.HandleFunc("GET /admin/totals", func(w http.ResponseWriter, _ *http.Request) {
		sandbox.Respond(w, s.Totals())
	})
	s.provider.Admin(mux, s.hooks, s.log)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(noSuch(http.StatusNotFound, "route", r.Method+" "+r.URL.Path).answer().Body)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Request-Id", newID("req"))
		mux.ServeHTTP(w, r)
	})
}

// once runs a POST under its idempotency key: the second request with a key gets the first one's answer.
func (s *Server) once(route string, do handler) func(*sandbox.Call) sandbox.Answer {
	return func(call *sandbox.Call) sandbox.Answer {
		a := &attempt{route: route, key: call.Request.Header.Get("Idempotency-Key"), fingerprint: fingerprint(call)}
		answer := s.answerOnce(call, a, do)
		if s.book.loses(a.intent, route, answer.Status < http.StatusMultipleChoices, s.now()) {
			call.Plan.Drop = true
		}
		return answer
	}
}

func (s *Server) answerOnce(call *sandbox.Call, a *attempt, do handler) sandbox.Answer {
	if a.key == "" {
		return do(call, a)
	}
	if len(a.key) > 255 {
		return parameter("invalid", "Idempotency-Key", "The Idempotency-Key may have at most 255 characters.").answer()
	}
	before, refusal := s.book.begin(a.key, a.fingerprint, s.now())
	if refusal != nil {
		return refusal.answer()
	}
	if before != nil {
		a.intent = before.Intent
		return sandbox.Answer{
			Status: before.Status, Body: before.Body, Header: http.Header{"Idempotent-Replayed": {"true"}},
		}
	}
	defer s.book.end(a.key)
	return do(call, a)
}

func (s *Server) create(call *sandbox.Call, a *attempt) sandbox.Answer {
	params, refusal := decode[createParams](call.Body)
	if refusal != nil {
		return refusal.answer()
	}
	call.WaitLate()
	now := s.now()
	intent := Intent{
		ID: newID("pi"), Object: "payment_intent", Amount: params.Amount, Currency: strings.ToLower(params.Currency),
		CaptureMethod: "manual", Status: RequiresPaymentMethod, PaymentMethod: params.PaymentMethod,
		Metadata: metadata{}, Created: now.Unix(),
	}.withMetadata(params.Metadata)
	if params.PaymentMethod != nil {
		intent.Status = RequiresConfirmation
	}
	return s.settle(call, a, intent, outcome{after: &intent}, nil, now)
}

func (s *Server) confirm(call *sandbox.Call, a *attempt) sandbox.Answer {
	params, refusal := decode[confirmParams](call.Body)
	if refusal != nil {
		return refusal.answer()
	}
	id := call.Request.PathValue("id")
	account, ok := s.book.find(id)
	if !ok {
		return noSuch(http.StatusNotFound, "payment_intent", id).answer()
	}
	token := cmp.Or(params.PaymentMethod, s.book.intentOf(account).token())
	if token == "" {
		return parameter("missing", "payment_method", "This PaymentIntent needs a payment_method.").answer()
	}
	trigger, unknown := triggerOf(token)
	if unknown != nil {
		return unknown.answer()
	}
	return s.change(call, a, account, trigger, params.Metadata,
		func(intent Intent, declined *Error, now time.Time) outcome {
			return intent.confirm(token, declined, now, s.config.AuthorizationTTL)
		})
}

func (s *Server) capture(call *sandbox.Call, a *attempt) sandbox.Answer {
	params, refusal := decode[captureParams](call.Body)
	if refusal != nil {
		return refusal.answer()
	}
	return s.changeByID(call, a, call.Request.PathValue("id"), params.Metadata,
		func(intent Intent, declined *Error, _ time.Time) outcome {
			amount := intent.AmountCapturable
			if params.AmountToCapture != nil {
				amount = *params.AmountToCapture
			}
			return intent.capture(amount, declined)
		})
}

func (s *Server) cancel(call *sandbox.Call, a *attempt) sandbox.Answer {
	params, refusal := decode[cancelParams](call.Body)
	if refusal != nil {
		return refusal.answer()
	}
	return s.changeByID(call, a, call.Request.PathValue("id"), params.Metadata,
		func(intent Intent, _ *Error, now time.Time) outcome {
			return intent.cancel(params.CancellationReason, now)
		})
}

func (s *Server) refund(call *sandbox.Call, a *attempt) sandbox.Answer {
	params, refusal := decode[refundParams](call.Body)
	if refusal != nil {
		return refusal.answer()
	}
	amount := int64(0)
	if params.Amount != nil {
		amount = *params.Amount
	}
	// The metadata is the refund's own; the intent keeps what it has.
	own := metadata{}
	for key, value := range params.Metadata {
		own[key] = value
	}
	return s.changeByID(call, a, params.PaymentIntent, own,
		func(intent Intent, _ *Error, now time.Time) outcome {
			return intent.giveBack(amount, params.Reason, own, now)
		})
}

func (s *Server) changeByID(call *sandbox.Call, a *attempt, id string, more metadata, work change) sandbox.Answer {
	account, ok := s.book.find(id)
	if !ok {
		return noSuch(http.StatusNotFound, "payment_intent", id).answer()
	}
	trigger, _ := triggerOf(s.book.intentOf(account).token()) // an intent without a token has the empty trigger
	return s.change(call, a, account, trigger, more, work)
}

// change runs one request against one intent. Waiting for a late effect holds no lock: meanwhile the intent may be
// canceled by somebody else, and then the late request is refused, as it would be anywhere.
func (s *Server) change(
	call *sandbox.Call, a *attempt, account *account, trigger Trigger, more metadata, work change,
) sandbox.Answer {
	declined := trigger.plan(a.route, call, s.config)
	call.WaitLate()

	account.working.Lock()
	defer account.working.Unlock()
	now := s.now()
	intent := s.book.intentOf(account)
	expireFirst := trigger.Kind == expireFirst && trigger.Route == a.route && intent.Status == RequiresCapture
	if expireFirst || intent.due(now) {
		expired := intent.expire(now)
		if err := s.book.commit(s.record(&attempt{route: a.route}, intent, expired, nil, now)); err != nil {
			return s.broken(err)
		}
		intent = *expired.after
	}
	out := work(intent, declined, now)
	if out.after != nil && out.refund == nil {
		merged := out.after.withMetadata(more)
		out.after = &merged
	}
	return s.settle(call, a, intent, out, more, now)
}

// settle writes an outcome to the ledger and words its answer.
func (s *Server) settle(
	call *sandbox.Call, a *attempt, before Intent, out outcome, more metadata, now time.Time,
) sandbox.Answer {
	a.intent = before.ID
	var answer sandbox.Answer
	switch {
	case out.refusal != nil:
		answer = out.refusal.answer()
	case call.Plan.Fail:
		answer = failed(http.StatusInternalServerError).answer()
	case out.refund != nil:
		answer = sandbox.JSON(http.StatusOK, out.refund)
	default:
		answer = sandbox.JSON(http.StatusOK, out.after)
	}
	r := s.record(a, before, out, more, now)
	if a.key != "" {
		r.Answer = &saved{
			Key: a.key, Fingerprint: a.fingerprint, Intent: before.ID, Status: answer.Status, Body: answer.Body,
		}
	}
	if r.Answer == nil && r.Intent == nil {
		return answer // refused, and nobody will ask again by a key
	}
	if err := s.book.commit(r); err != nil {
		return s.broken(err)
	}
	return answer
}

func (s *Server) record(a *attempt, before Intent, out outcome, more metadata, now time.Time) record {
	return record{
		At: now, Route: a.route, Intent: out.after, Refund: out.refund,
		Entries: entriesOf(out, before, more, a.key, now),
	}
}

// broken is the answer when the ledger cannot be written: whether anything was done is not known.
func (s *Server) broken(err error) sandbox.Answer {
	s.log.Error("ledger is not writable", "error", err)
	return failed(http.StatusInternalServerError).answer()
}

func (s *Server) getIntent(call *sandbox.Call) sandbox.Answer {
	id := call.Request.PathValue("id")
	account, ok := s.book.find(id)
	if !ok {
		return noSuch(http.StatusNotFound, "payment_intent", id).answer()
	}
	if s.book.intentOf(account).due(s.now()) {
		s.expire(account)
	}
	s.hide(call, id)
	return sandbox.JSON(http.StatusOK, s.book.intentOf(account))
}

func (s *Server) listIntents(call *sandbox.Call) sandbox.Answer {
	q, refusal := listQuery(call.Request, "order_id", "operation_id")
	if refusal != nil {
		return refusal.answer()
	}
	s.expireDue()
	intents, more := s.book.intents(q.Get("order_id"), q.Get("operation_id"), q.Get("starting_after"), q.limit)
	for _, intent := range intents {
		s.hide(call, intent.ID)
	}
	return page(intents, more)
}

func (s *Server) getRefund(call *sandbox.Call) sandbox.Answer {
	id := call.Request.PathValue("id")
	refund, ok := s.book.refund(id)
	if !ok {
		return noSuch(http.StatusNotFound, "refund", id).answer()
	}
	return sandbox.JSON(http.StatusOK, refund)
}

func (s *Server) listRefunds(call *sandbox.Call) sandbox.Answer {
	q, refusal := listQuery(call.Request, "payment_intent")
	if refusal != nil {
		return refusal.answer()
	}
	account, ok := s.book.find(q.Get("payment_intent"))
	if !ok {
		return parameter("missing", "payment_intent", "Refunds are listed by payment_intent only.").answer()
	}
	return page(s.book.refundsOf(account, q.Get("starting_after"), q.limit))
}

// hide loses the answer if it is about an intent that nobody may hear of yet.
func (s *Server) hide(call *sandbox.Call, id string) {
	if s.book.loses(id, routeGet, false, s.now()) {
		call.Plan.Drop = true
	}
}

func page[T any](items []T, more bool) sandbox.Answer {
	return sandbox.JSON(http.StatusOK, map[string]any{"object": "list", "data": items, "has_more": more})
}

func fingerprint(call *sandbox.Call) string {
	hash := sha256.New()
	hash.Write([]byte(call.Request.URL.Path + "\n"))
	hash.Write(call.Body)
	return hex.EncodeToString(hash.Sum(nil))
}

func newID(prefix string) string {
	return prefix + "_" + strings.ToLower(rand.Text())
}
