package notification

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/worker"
)

// Statements are all that the service sends, for the test that prepares them.
var Statements = map[string]string{
	"activeTemplates":     activeTemplatesSQL,
	"insertNotifications": insertNotificationsSQL,
	"standing":            standingSQL,
	"begin":               beginSQL,
	"settleAttempts":      settleAttemptsSQL,
	"settleNotifications": settleNotificationsSQL,
	"keepClaims":          keepClaimsSQL,
	"listNotifications":   listNotificationsSQL,
	"getNotification":     getNotificationSQL,
	"getAttempts":         getAttemptsSQL,
	"totals":              totalsSQL,
}

// Pure rules under test.
var (
	CheckEmail = checkEmail
	PickLocale = pickLocale
	Findings   = findings
	Next       = next
	RefusalOf  = refusalCode
	OneLine    = oneLine
)

// Finding is the key of the table of states.
type Finding = finding

// Handler is the handler under test.
type Handler struct{ h *handler }

// NewHandler makes one over any mailer.
func NewHandler(pool *pgxpool.Pool, mailer Mailer, giveUpAfter time.Duration) *Handler {
	return &Handler{newHandler(pool, mailer, "shop.example", giveUpAfter)}
}

// Register adds it to a worker.
func (h *Handler) Register(w *worker.Worker) { h.h.register(w) }

// Close ends it.
func (h *Handler) Close() { h.h.close() }

// FollowClaims applies records of the orders events topic.
func FollowClaims(ctx context.Context, pool *pgxpool.Pool, records []*kgo.Record) error {
	return (&claims{pool: pool, now: time.Now}).handle(ctx, records)
}
