package pg

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Counter counts what goes to the server under a context made by WithCounter, on pools made by Open. The tests that
// show a path to be set-based run it with a small batch and a large one and compare.
type Counter struct {
	mu         sync.Mutex
	roundTrips int
	statements []string
}

// Reset forgets what was counted.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roundTrips, c.statements = 0, nil
}

// RoundTrips is how often the client waited for the server: one for a statement, one for a whole pipelined batch, one
// for BEGIN and COMMIT each. The first use of a statement on a connection also prepares it, which costs another one and
// is left out, since it does not come back.
func (c *Counter) RoundTrips() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roundTrips
}

// Statements is the number of statements, those inside batches each for itself, transaction control left out.
func (c *Counter) Statements() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.statements)
}

// SQL is the text of the statements in the order they were sent, to say which ones are too many.
func (c *Counter) SQL() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.statements)
}

func (c *Counter) sent(statements ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roundTrips++
	for _, sql := range statements {
		if !isTxControl(sql) {
			c.statements = append(c.statements, sql)
		}
	}
}

func isTxControl(sql string) bool {
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(sql)), " ")
	switch strings.TrimSuffix(word, ";") {
	case "begin", "commit", "rollback", "savepoint", "release":
		return true
	}
	return false
}

type counterKey struct{}

// WithCounter has everything below ctx counted by c.
func WithCounter(ctx context.Context, c *Counter) context.Context {
	return context.WithValue(ctx, counterKey{}, c)
}

// counterTracer is part of every pool that Open makes; without a Counter in the context it is one map-free lookup.
type counterTracer struct{}

var (
	_ pgx.QueryTracer    = counterTracer{}
	_ pgx.BatchTracer    = counterTracer{}
	_ pgx.CopyFromTracer = counterTracer{}
)

func (counterTracer) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	if c, ok := ctx.Value(counterKey{}).(*Counter); ok {
		c.sent(data.SQL)
	}
	return ctx
}

func (counterTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (counterTracer) TraceBatchStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData,
) context.Context {
	if c, ok := ctx.Value(counterKey{}).(*Counter); ok {
		var statements []string
		for _, q := range data.Batch.QueuedQueries {
			statements = append(statements, q.SQL)
		}
		c.sent(statements...)
	}
	return ctx
}

func (counterTracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (counterTracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (counterTracer) TraceCopyFromStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceCopyFromStartData,
) context.Context {
	if c, ok := ctx.Value(counterKey{}).(*Counter); ok {
		c.sent("COPY " + data.TableName.Sanitize())
	}
	return ctx
}

func (counterTracer) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}
