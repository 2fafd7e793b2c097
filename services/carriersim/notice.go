package carriersim

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// event is a webhook as the carrier words it. The result is what it was when the event happened.
type event struct {
	ID          string    `json:"id"`
	Object      string    `json:"object"`
	Description string    `json:"description"`
	CreatedAt   time.Time `json:"created_at"`
	Result      Tracker   `json:"result"`
}

// Tracker is what an event tells about a shipment. It names no person.
type Tracker struct {
	Object       string  `json:"object"`
	ShipmentID   string  `json:"shipment_id"`
	Reference    string  `json:"reference"`
	TrackingCode string  `json:"tracking_code"`
	Status       Status  `json:"status"`
	RefundStatus *string `json:"refund_status"`
}

// Descriptions of events.
const (
	eventBought         = "tracker.created"
	eventRefunded       = "refund.successful"
	eventRefundRejected = "refund.failed"
)

// notify tells the receiver of webhooks what a record changed. An event and its id follow from the record alone, so
// that the same ledger tells the same story after a restart.
func (b *book) notify(r record) {
	s := r.Shipment
	if b.hooks == nil || s.TrackingCode == nil {
		return
	}
	name := eventBought
	switch {
	case s.RefundStatus != nil && *s.RefundStatus == rejected:
		name = eventRefundRejected
	case s.RefundStatus != nil:
		name = eventRefunded
	}
	e := event{
		ID: eventID(name, s.ID, r.At), Object: "Event", Description: name, CreatedAt: r.At,
		Result: Tracker{
			Object: "Tracker", ShipmentID: s.ID, Reference: s.Reference, TrackingCode: *s.TrackingCode, Status: s.Status,
			RefundStatus: s.RefundStatus,
		},
	}
	body, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("encoding an event: %v", err)) // the simulator's own types always encode
	}
	b.hooks.Notify(e.ID, body, r.At)
}

func eventID(name, object string, at time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", name, object, at.UnixMilli()))
	return "evt_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:16])[:26])
}
