package coordinator

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/httpserver"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// HandleReplies applies records as if they had been polled from a topic of replies.
func (s *Service) HandleReplies(ctx context.Context, records []*kgo.Record) error {
	c, err := newCatalogue(&s.config)
	if err != nil {
		return err
	}
	door := &replies{
		engine: s.engine, dispatcher: s.dispatcher, maxBatch: s.config.MaxBatch,
		speakers: c.speakers(s.config.Kafka.Topics()), log: s.log,
	}
	return door.handle(ctx, records)
}

// FuzzNewOrder submits arbitrary documents: each is refused with what is wrong where, or is an order whose commands and
// whose undos can all be written.
func FuzzNewOrder(f *testing.F) {
	f.Add([]byte(`{"shop": "s", "customer_id": "c", "reference": "r", "currency": "EUR", "total_minor": 3,
		"payment_token": "tok_visa", "lines": [{"sku": "SKU-1", "quantity": 3, "unit_price_minor": 1}],
		"ship_to": {"name": "n", "lines": ["l"], "city": "c", "country": "DE", "email": "a@example.com"}}`))
	f.Add([]byte(`{"currency": "JPY", "total_minor": 9223372036854775807, "lines": [{"quantity": 9223372036854775807,
		"unit_price_minor": 9223372036854775807}, {"line_id": "1"}, {"line_id": "1"}], "discount_minor": -1}`))
	f.Add([]byte(`{"payment_token": "4242 4242 4242 4242", "shop": "\u0000", "locale": "\ud800", "ship_to": {"phone": "+"}}`))
	f.Add([]byte(`null`))
	d, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(f, err)
	id := uuid.MustParse("0198f0a0-0000-7000-8000-000000000000")
	f.Fuzz(func(t *testing.T, body []byte) {
		var submitted coordinatorapi.NewOrder
		if json.Unmarshal(body, &submitted) != nil {
			return
		}
		document := documentOf(id, &submitted)
		if err := order.Validate(document); err != nil {
			var invalid *order.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.NotEmpty(t, invalid.Faults)
			for _, fault := range invalid.Faults {
				require.Regexp(t, "^/", fault.Pointer)
				require.NotEmpty(t, fault.Code)
				require.NotEmpty(t, fault.Detail)
			}
			return
		}
		_, err := proto.Marshal(document)
		require.NoError(t, err)
		require.LessOrEqual(t, document.GetTotalMinor(), int64(1)<<53-1, "JSON readers lose bigger numbers")
		s := saga.New(d, id, id)
		for i, step := range d.Steps() {
			for _, op := range []saga.Op{saga.OpDo, saga.OpUndo} {
				if op == saga.OpUndo && step.Undo == "" {
					continue
				}
				a := saga.Action{Step: i, Op: op, Generation: 1, Attempt: 1}
				_, _, err := order.AppendCommand(nil, d, &s, document, a, time.Now())
				require.NoError(t, err)
			}
		}
	})
}

// FuzzCursor opens arbitrary cursors: one that opens is the one that the same place would get.
func FuzzCursor(f *testing.F) {
	f.Add(sealCursor(lastID, "filters"), "filters")
	f.Add(sealCursor(uuid.Nil, ""), "other")
	f.Add("", "")
	f.Add("%00", "\xff")
	f.Fuzz(func(t *testing.T, text, fingerprint string) {
		id, err := openCursor(text, fingerprint)
		if err != nil {
			var problem *httpserver.Problem
			require.ErrorAs(t, err, &problem)
			require.Equal(t, http.StatusBadRequest, problem.Status())
			return
		}
		if text != "" {
			again, err := openCursor(sealCursor(id, fingerprint), fingerprint)
			require.NoError(t, err)
			require.Equal(t, id, again)
		}
	})
}

// FuzzHeaders reads arbitrary Prefer and Idempotency-Key headers: a wait is within its bounds, a key is the same quoted
// or not, and what cannot be read is the client's fault.
func FuzzHeaders(f *testing.F) {
	f.Add("wait=5", "key")
	f.Add(`respond-async, WAIT = "60"; x`, `"key"`)
	f.Add("wait=99999999999999999999", `""`)
	f.Add("wait=-1;wait", " ")
	f.Fuzz(func(t *testing.T, prefer, key string) {
		client := func(err error) {
			var problem *httpserver.Problem
			require.ErrorAs(t, err, &problem)
			require.Less(t, problem.Status(), http.StatusInternalServerError)
		}
		if wait, err := preferredWait(prefer); err != nil {
			client(err)
		} else {
			require.GreaterOrEqual(t, wait, time.Duration(0))
			require.LessOrEqual(t, wait, maxWait)
		}
		bare, err := idempotencyKey(scopeOrders, key, nil)
		if err != nil {
			client(err)
			return
		}
		require.NotEmpty(t, bare.key)
		if bare.key == key {
			quoted, err := idempotencyKey(scopeOrders, `"`+key+`"`, nil)
			require.NoError(t, err)
			require.Equal(t, bare, quoted)
		}
	})
}
