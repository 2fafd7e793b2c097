package gatewaysim

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// event is a webhook as the provider words it. The object is what it was when the event happened; by the time that
// somebody reads it, it may be something else.
type event struct {
	ID      string    `json:"id"`
	Object  string    `json:"object"`
	Type    string    `json:"type"`
	Created int64     `json:"created"`
	Data    eventData `json:"data"`
}

type eventData struct {
	Object any `json:"object"`
}

// Types of events.
const (
	eventAuthorized = "payment_intent.amount_capturable_updated"
	eventDeclined   = "payment_intent.payment_failed"
	eventCaptured   = "payment_intent.succeeded"
	eventCanceled   = "payment_intent.canceled"
	eventRefunded   = "refund.created"
)

// notify tells the receiver of webhooks what a record changed. An event and its id follow from the record alone, so
// that the same ledger tells the same story after a restart.
func (b *book) notify(r record) {
	if b.hooks == nil {
		return
	}
	var (
		name, id string
		object   any
	)
	switch {
	case r.Refund != nil:
		name, object, id = eventRefunded, r.Refund, r.Refund.ID
	case r.Intent != nil:
		name, object, id = eventTypeOf(*r.Intent), r.Intent, r.Intent.ID
	}
	if name == "" {
		return // nothing has been decided
	}
	e := event{
		ID: eventID(name, id, r.At), Object: "event", Type: name, Created: r.At.Unix(), Data: eventData{Object: object},
	}
	body, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("encoding an event: %v", err)) // the simulator's own types always encode
	}
	b.hooks.Notify(e.ID, body, r.At)
}

// eventTypeOf is empty for an intent that nothing has been decided about.
func eventTypeOf(intent Intent) string {
	switch intent.Status {
	case RequiresCapture:
		return eventAuthorized
	case Succeeded:
		return eventCaptured
	case Canceled:
		return eventCanceled
	case RequiresPaymentMethod:
		if intent.LastPaymentError != nil {
			return eventDeclined
		}
	case RequiresConfirmation:
	}
	return ""
}

func eventID(name, object string, at time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", name, object, at.UnixMilli()))
	return "evt_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:16])[:26])
}
