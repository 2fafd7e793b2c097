package shipping

import (
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker"
)

// Statements are all that the service sends, for the test that prepares them.
var Statements = map[string]string{
	"insertShipments":  insertShipmentsSQL,
	"insertItems":      insertItemsSQL,
	"insertPackages":   insertPackagesSQL,
	"insertLabels":     insertLabelsSQL,
	"insertOperations": insertOperationsSQL,
	"begin":            beginSQL,
	"bookedRef":        bookedRefSQL,
	"settleOperations": settleOperationsSQL,
	"settleAttempts":   settleAttemptsSQL,
	"settleLabels":     settleLabelsSQL,
	"settleShipments":  settleShipmentsSQL,
	"cancelShipments":  cancelShipmentsSQL,
	"cancelLabels":     cancelLabelsSQL,
	"insertVoids":      insertVoidsSQL,
	"listShipments":    listShipmentsSQL,
	"getShipment":      getShipmentSQL,
	"getItems":         getItemsSQL,
	"getLabels":        getLabelsSQL,
	"getOperations":    getOperationsSQL,
	"getAttempts":      getAttemptsSQL,
	"books":            booksSQL,
	"totals":           totalsSQL,
}

// Pure rules under test.
var (
	CheckAddress = checkAddress
	Pack         = pack
	WeightOunces = weightOunces
)

// Settlements is the table of what rows become.
func Settlements() map[OperationKind]map[string][3]string {
	out := make(map[OperationKind]map[string][3]string)
	for kind, row := range settlements {
		out[kind] = make(map[string][3]string)
		for f, s := range row {
			out[kind][string(f)] = [3]string{string(s.Operation), string(s.Label), string(s.Shipment)}
		}
	}
	return out
}

// Handler is the handler under test.
type Handler struct{ h *handler }

// NewHandler makes one over any carrier.
func NewHandler(pool *pgxpool.Pool, carrier Carrier, visibility time.Duration) *Handler {
	return &Handler{newHandler(pool, carrier, 500, visibility)}
}

// Register adds it to a worker.
func (h *Handler) Register(w *worker.Worker) { h.h.register(w) }

// NewInbox is the inbox under test.
func NewInbox(pool *pgxpool.Pool, w *worker.Worker, keys []webhook.Key, log *slog.Logger) *inbox.Inbox {
	return newInbox(pool, w, "carrier", keys, time.Second, 0, log, nil)
}

// Close ends it.
func (h *Handler) Close() { h.h.close() }
