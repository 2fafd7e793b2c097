package pg

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/clock"
)

// Clock is the database's clock as this process knows it: the last reading, carried on by the monotonic clock. All
// processes on one database agree about it, and a step of this machine's clock does not move it. So whatever is due or
// has ended is decided by it, and never by the wall clock. The zero value is the wall clock until the first reading.
type Clock struct{ last atomic.Pointer[reading] }

type reading struct{ database, at time.Time }

// slowReading is how long a reading may have been on its way to replace an older one, which is closer to the truth then.
const slowReading = time.Second

// Set takes a reading: what the database's clock said, and the time.Now of that moment, which must still have its
// monotonic part. Who sends a question of its own takes the moment before, and so is never behind the database.
func (c *Clock) Set(database, at time.Time) {
	last := c.last.Load()
	if last != nil && (at.Before(last.at) || time.Since(at) > slowReading) {
		return
	}
	c.last.Store(&reading{database: database.UTC(), at: at})
}

// Known says whether there was a reading.
func (c *Clock) Known() bool { return c.last.Load() != nil }

// Now is what the database's clock says now.
func (c *Clock) Now() time.Time {
	last := c.last.Load()
	if last == nil {
		return clock.Now()
	}
	return last.database.Add(time.Since(last.at))
}

const clockSQL = `SELECT clock_timestamp()`

// Queryer is what can be asked for one row: a pool, a connection or a transaction.
type Queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Read asks the database.
func (c *Clock) Read(ctx context.Context, db Queryer) error {
	asked := time.Now()
	var now time.Time
	if err := db.QueryRow(ctx, clockSQL).Scan(&now); err != nil {
		return fmt.Errorf("reading the database's clock: %w", err)
	}
	c.Set(now, asked)
	return nil
}
