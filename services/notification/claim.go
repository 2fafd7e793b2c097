package notification

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pg"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// claims follows the orders events topic, so that a mail is sent only while what it says is so.
type claims struct {
	pool *pgxpool.Pool
	now  func() time.Time
}

// handle keeps the claims of one poll: two statements at most, however many records there are. What cannot be read is
// parked.
func (c *claims) handle(ctx context.Context, records []*kgo.Record) error {
	var (
		found   []claim
		letters []deadletter.Letter
	)
	for _, record := range records {
		_, data, err := message.Decode(record)
		var one claim
		var known bool
		if err == nil {
			one, known, err = claimOf(data)
		}
		if err != nil {
			letters = append(letters, deadletter.New(record, reasonOf(err), err, c.now()))
			continue
		}
		if known {
			found = append(found, one)
		}
	}
	if len(found) == 0 && len(letters) == 0 {
		return nil
	}
	err := pg.InTx(ctx, c.pool, func(tx pgx.Tx) error {
		if err := deadletter.Park(ctx, tx, letters); err != nil {
			return err
		}
		return keepClaims(ctx, tx, found, c.now())
	})
	if err != nil {
		return err
	}
	return crash.Fail(crash.NotificationAfterClaims)
}

// orderEvent is what every event of the topic has.
type orderEvent interface {
	proto.Message
	GetOrderId() string
	GetRevision() uint64
}

// claimOf reads what an event says about its order. Known is false for events that change no claim.
func claimOf(data proto.Message) (found claim, known bool, err error) {
	switch data.(type) {
	case *orderv1.OrderAccepted:
		found.Status = ClaimAccepted
	case *orderv1.OrderConfirmed:
		found.Status = ClaimConfirmed
	case *orderv1.OrderCompleted:
		found.Status = ClaimCompleted
	case *orderv1.OrderCancelling:
		found.Status = ClaimCancelling
	case *orderv1.OrderCancelled:
		found.Status = ClaimCancelled
	case *orderv1.OrderClosed:
		found.Status = ClaimClosed
	case *orderv1.OrderAttentionRaised, *orderv1.OrderAttentionCleared:
		return claim{}, false, nil
	default:
		return claim{}, false, errWrongTopic
	}
	event, ok := data.(orderEvent)
	if !ok {
		return claim{}, false, errWrongTopic
	}
	if found.OrderID, err = uuid.Parse(event.GetOrderId()); err != nil {
		return claim{}, false, fmt.Errorf("order_id %q is no UUID: %w", event.GetOrderId(), err)
	}
	if event.GetRevision() == 0 || event.GetRevision() > math.MaxInt64 {
		return claim{}, false, fmt.Errorf("revision %d is out of range; it counts the writes of the saga from 1",
			event.GetRevision())
	}
	found.Revision = int64(event.GetRevision())
	return found, true, nil
}

var errWrongTopic = errors.New("this message is no event of an order; find out who writes it here")

// reasonOf sorts what was wrong with a record.
func reasonOf(err error) deadletter.Reason {
	if errors.Is(err, errWrongTopic) {
		return deadletter.WrongTopic
	}
	if refused, ok := errors.AsType[*message.Error](err); ok {
		return deadletter.Reason(refused.Reason)
	}
	return deadletter.HandlerRefused
}
