package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// watchEvery is how often the watched sagas are looked at for changes that another coordinator made.
const watchEvery = 500 * time.Millisecond

// watch wakes those who wait for a change of a saga: at once for changes of this process, and within watchEvery for
// those of another one. All watched sagas are looked at by one statement, however many there are.
type watch struct {
	pool *pgxpool.Pool
	log  *slog.Logger

	mu       sync.Mutex
	watchers map[uuid.UUID]map[*watcher]struct{}
	seen     map[uuid.UUID]int64
}

// watcher hears of changes of one saga. One token stands for any number of changes.
type watcher struct {
	saga uuid.UUID
	C    chan struct{}
}

func newWatch(pool *pgxpool.Pool, log *slog.Logger) *watch {
	return &watch{
		pool: pool, log: log,
		watchers: make(map[uuid.UUID]map[*watcher]struct{}), seen: make(map[uuid.UUID]int64),
	}
}

// add starts watching. Look at the saga after it, not before, or a change between the two is missed.
func (w *watch) add(id uuid.UUID) *watcher {
	one := &watcher{saga: id, C: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watchers[id] == nil {
		w.watchers[id] = make(map[*watcher]struct{})
	}
	w.watchers[id][one] = struct{}{}
	return one
}

func (w *watch) remove(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watchers[one.saga], one)
	if len(w.watchers[one.saga]) == 0 {
		delete(w.watchers, one.saga)
		delete(w.seen, one.saga)
	}
}

// hear wakes the watchers of the sagas that a turn wrote something about.
func (w *watch) hear(t *turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.watchers) == 0 {
		return
	}
	for i, s := range t.sagas {
		if s != nil && len(s.history) > 0 {
			w.wake(t.order[i], s.Revision)
		}
	}
}

func (w *watch) wake(id uuid.UUID, revision int64) {
	for one := range w.watchers[id] {
		w.seen[id] = revision
		select {
		case one.C <- struct{}{}:
		default:
		}
	}
}

const revisionsSQL = `
SELECT
    id,
    revision
FROM saga
WHERE id = ANY($1::uuid[])`

func (w *watch) run(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.log.DebugContext(ctx, "looking for changes failed", "error", err)
		}
	}
}

// look reads the revisions of all watched sagas.
func (w *watch) look(ctx context.Context) error {
	w.mu.Lock()
	ids := make([]uuid.UUID, 0, len(w.watchers))
	for id := range w.watchers {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	rows, err := w.pool.Query(ctx, revisionsSQL, ids)
	if err != nil {
		return fmt.Errorf("reading the revisions of %d sagas: %w", len(ids), err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			id       uuid.UUID
			revision int64
		)
		if err := rows.Scan(&id, &revision); err != nil {
			return fmt.Errorf("reading revisions: %w", err)
		}
		w.mu.Lock()
		if w.seen[id] != revision {
			w.wake(id, revision)
		}
		w.mu.Unlock()
	}
	return rows.Err()
}
