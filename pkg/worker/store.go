package worker

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// All SQL of the package is in this file. Every statement takes a whole batch.

// rowKey is the effect key in columns.
type rowKey struct {
	saga       uuid.UUID
	step       string
	generation int
}

// compare is the one order in which rows are locked and inserted, so that two owners of a partition cannot deadlock.
func (k rowKey) compare(other rowKey) int {
	return cmp.Or(
		bytes.Compare(k.saga[:], other.saga[:]),
		cmp.Compare(k.step, other.step),
		cmp.Compare(k.generation, other.generation),
	)
}

// storedRow is one row of the table step.
type storedRow struct {
	Row
	key         rowKey
	orderID     uuid.UUID
	commandType string
	command     []byte
	undo        []byte
	reply       []byte
	probes      int
	// asking says that a call is on its way, so that probeIn is a lease and not an appointment.
	asking bool
	// probeIn is the time until the resolver asks, as loaded or as it shall be written; open rows only.
	probeIn time.Duration
	fresh   bool
	dirty   bool
}

// keyArrays turns keys into the three arrays that unnest takes.
func keyArrays(keys []rowKey) (sagas []uuid.UUID, steps []string, generations []int32) {
	sagas = make([]uuid.UUID, len(keys))
	steps = make([]string, len(keys))
	generations = make([]int32, len(keys))
	for i, k := range keys {
		sagas[i], steps[i], generations[i] = k.saga, k.step, int32(k.generation)
	}
	return sagas, steps, generations
}

const loadSQL = `
SELECT
    s.saga_id,
    s.step,
    s.generation,
    s.order_id,
    s.state,
    s.effect_seq,
    s.undo_wanted,
    s.command_type,
    s.command,
    s.undo,
    s.reply,
    s.probes,
    s.asking,
    coalesce(extract(epoch FROM s.next_probe_at - now()), 0)::float8
FROM step AS s
JOIN unnest(@sagas::uuid[], @steps::text[], @generations::integer[]) AS k (saga_id, step, generation)
    ON s.saga_id = k.saga_id AND s.step = k.step AND s.generation = k.generation
ORDER BY s.saga_id, s.step COLLATE "C", s.generation
FOR UPDATE OF s`

// loadRows locks and reads the rows of the keys that exist; they are in rows when the batch has been sent.
func loadRows(batch *pgx.Batch, keys []rowKey, rows map[rowKey]*storedRow) {
	if len(keys) == 0 {
		return
	}
	sagas, steps, generations := keyArrays(keys)
	batch.Queue(loadSQL, pgx.StrictNamedArgs{
		"sagas": sagas, "steps": steps, "generations": generations,
	}).Query(func(found pgx.Rows) error {
		loaded, err := pgx.CollectRows(found, scanRow)
		if err != nil {
			return fmt.Errorf("loading step rows: %w", err)
		}
		for _, row := range loaded {
			rows[row.key] = row
		}
		return nil
	})
}

// Unnested in the list and not in FROM, where the server would put every column into a table of its own first.
const insertSQL = `
INSERT INTO step (
    saga_id,
    step,
    generation,
    order_id,
    state,
    effect_seq,
    undo_wanted,
    command_type,
    command,
    undo,
    reply,
    probes,
    asking,
    next_probe_at
)
SELECT
    unnest(@sagas::uuid[]),
    unnest(@steps::text[]),
    unnest(@generations::integer[]),
    unnest(@orders::uuid[]),
    unnest(@states::smallint[]),
    unnest(@effect_seqs::integer[]),
    unnest(@undo_wanted::boolean[]),
    unnest(@command_types::text[]),
    unnest(@commands::bytea[]),
    unnest(@undos::bytea[]),
    unnest(@replies::bytea[]),
    unnest(@probes::integer[]),
    unnest(@asking::boolean[]),
    now() + unnest(@probe_ins::float8[]) * interval '1 second'`

const updateSQL = `
UPDATE step AS s
SET
    state = u.state,
    effect_seq = u.effect_seq,
    undo_wanted = u.undo_wanted,
    undo = u.undo,
    reply = u.reply,
    probes = u.probes,
    asking = u.asking,
    next_probe_at = now() + u.probe_in * interval '1 second',
    updated_at = now()
FROM unnest(
    @sagas::uuid[], @steps::text[], @generations::integer[], @states::smallint[], @effect_seqs::integer[],
    @undo_wanted::boolean[], @undos::bytea[], @replies::bytea[], @probes::integer[], @asking::boolean[],
    @probe_ins::float8[]
) AS u (saga_id, step, generation, state, effect_seq, undo_wanted, undo, reply, probes, asking, probe_in)
WHERE s.saga_id = u.saga_id AND s.step = u.step AND s.generation = u.generation`

// storeRows queues what has changed, new rows in one statement and known ones in another.
func storeRows(batch *pgx.Batch, rows map[rowKey]*storedRow) {
	var fresh, changed []*storedRow
	for _, row := range rows {
		switch {
		case row.fresh:
			fresh = append(fresh, row)
		case row.dirty:
			changed = append(changed, row)
		}
	}
	if len(fresh) > 0 {
		batch.Queue(insertSQL, columnsOf(fresh).insertArgs())
	}
	if len(changed) > 0 {
		batch.Queue(updateSQL, columnsOf(changed).updateArgs())
	}
}

// columns holds rows as the arrays that unnest takes.
type columns struct {
	sagas        []uuid.UUID
	steps        []string
	generations  []int32
	orders       []uuid.UUID
	states       []int16
	effectSeqs   []int32
	undoWanted   []bool
	commandTypes []string
	commands     [][]byte
	undos        [][]byte
	replies      [][]byte
	probes       []int32
	asking       []bool
	probeIns     []*float64
}

func columnsOf(rows []*storedRow) *columns {
	slices.SortFunc(rows, func(a, b *storedRow) int { return a.key.compare(b.key) })
	n := len(rows)
	c := &columns{
		sagas: make([]uuid.UUID, n), steps: make([]string, n), generations: make([]int32, n),
		orders: make([]uuid.UUID, n), states: make([]int16, n), effectSeqs: make([]int32, n),
		undoWanted: make([]bool, n), commandTypes: make([]string, n), commands: make([][]byte, n), undos: make([][]byte, n),
		replies: make([][]byte, n), probes: make([]int32, n), asking: make([]bool, n), probeIns: make([]*float64, n),
	}
	size := 0
	for _, row := range rows {
		size += len(row.command) + len(row.undo) + len(row.reply)
	}
	slab := make([]byte, 0, size) // holds what is compacted
	for i, row := range rows {
		c.sagas[i], c.steps[i], c.generations[i] = row.key.saga, row.key.step, int32(row.key.generation)
		c.orders[i] = row.orderID
		c.states[i], c.effectSeqs[i], c.undoWanted[i] = int16(row.State), int32(row.EffectSeq), row.UndoWanted
		c.commandTypes[i] = row.commandType
		key := row.keyFields()
		slab, c.commands[i] = key.compactCommand(slab, row.command)
		slab, c.undos[i] = key.compactCommand(slab, row.undo)
		slab, c.replies[i] = key.compactReply(slab, row.reply)
		c.probes[i], c.asking[i] = int32(row.probes), row.asking && row.State.Open()
		if row.State.Open() {
			seconds := row.probeIn.Seconds()
			c.probeIns[i] = &seconds
		}
	}
	return c
}

func (c *columns) updateArgs() pgx.StrictNamedArgs {
	return pgx.StrictNamedArgs{
		"sagas": c.sagas, "steps": c.steps, "generations": c.generations, "states": c.states, "effect_seqs": c.effectSeqs,
		"undo_wanted": c.undoWanted, "undos": c.undos, "replies": c.replies, "probes": c.probes,
		"asking": c.asking, "probe_ins": c.probeIns,
	}
}

func (c *columns) insertArgs() pgx.StrictNamedArgs {
	args := c.updateArgs()
	args["orders"], args["command_types"], args["commands"] = c.orders, c.commandTypes, c.commands
	return args
}

const claimSQL = `
WITH due AS (
    SELECT saga_id, step, generation
    FROM step
    WHERE next_probe_at <= now()
    ORDER BY next_probe_at
    LIMIT @max
    FOR UPDATE SKIP LOCKED
)
UPDATE step AS s
SET
    probes = s.probes + 1,
    asking = true,
    next_probe_at = now() + @lease::float8 * interval '1 second',
    updated_at = now()
FROM due
WHERE s.saga_id = due.saga_id AND s.step = due.step AND s.generation = due.generation
RETURNING
    s.saga_id,
    s.step,
    s.generation,
    s.order_id,
    s.state,
    s.effect_seq,
    s.undo_wanted,
    s.command_type,
    s.command,
    s.undo,
    s.reply,
    s.probes,
    s.asking,
    extract(epoch FROM s.next_probe_at - now())::float8`

// claimDue takes open questions that are due. The lease keeps every other resolver away from them meanwhile.
func claimDue(ctx context.Context, pool *pgxpool.Pool, limit int, lease time.Duration) ([]*storedRow, error) {
	found, err := pool.Query(ctx, claimSQL, pgx.StrictNamedArgs{"max": limit, "lease": lease.Seconds()})
	if err != nil {
		return nil, fmt.Errorf("claiming rows in doubt: %w", err)
	}
	rows, err := pgx.CollectRows(found, scanRow)
	if err != nil {
		return nil, fmt.Errorf("claiming rows in doubt: %w", err)
	}
	return rows, nil
}

// A row that is locked is being written down by somebody: it is not waited for, and reported as not woken.
const wakeSQL = `
WITH wanted AS (
    SELECT DISTINCT saga_id, step, generation
    FROM unnest(@sagas::uuid[], @steps::text[], @generations::integer[]) AS k (saga_id, step, generation)
), free AS (
    SELECT s.saga_id, s.step, s.generation
    FROM step AS s
    JOIN wanted AS w ON s.saga_id = w.saga_id AND s.step = w.step AND s.generation = w.generation
    WHERE s.next_probe_at IS NOT NULL AND NOT s.asking
    ORDER BY s.saga_id, s.step COLLATE "C", s.generation
    FOR UPDATE OF s SKIP LOCKED
), woken AS (
    UPDATE step AS s
    SET
        next_probe_at = now(),
        updated_at = now()
    FROM free
    WHERE s.saga_id = free.saga_id AND s.step = free.step AND s.generation = free.generation
    RETURNING s.saga_id, s.step, s.generation
)
SELECT
    s.saga_id,
    s.step,
    s.generation,
    EXISTS (
        SELECT 1
        FROM woken
        WHERE woken.saga_id = s.saga_id AND woken.step = s.step AND woken.generation = s.generation
    )
FROM step AS s
JOIN wanted AS w ON s.saga_id = w.saga_id AND s.step = w.step AND s.generation = w.generation
WHERE s.next_probe_at IS NOT NULL`

// wakeRows makes open questions due that are not being asked. It returns the open rows, and whether each is due now.
func wakeRows(ctx context.Context, tx pgx.Tx, keys []rowKey) (map[Effect]bool, error) {
	open := make(map[Effect]bool, len(keys))
	if len(keys) == 0 {
		return open, nil
	}
	sagas, steps, generations := keyArrays(keys)
	found, err := tx.Query(ctx, wakeSQL, pgx.StrictNamedArgs{
		"sagas": sagas, "steps": steps, "generations": generations,
	})
	if err != nil {
		return nil, fmt.Errorf("waking rows in doubt: %w", err)
	}
	var (
		e     Effect
		woken bool
	)
	_, err = pgx.ForEachRow(found, []any{&e.SagaID, &e.Step, &e.Generation, &woken}, func() error {
		open[e] = woken
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("waking rows in doubt: %w", err)
	}
	return open, nil
}

const readMarkSQL = `
SELECT at
FROM step_low_water`

func readMark(ctx context.Context, tx pgx.Tx) (mark time.Time, err error) {
	if err := tx.QueryRow(ctx, readMarkSQL).Scan(&mark); err != nil {
		return mark, fmt.Errorf("reading the mark of pruned rows: %w", err)
	}
	return mark, nil
}

const raiseMarkSQL = `
UPDATE step_low_water
SET at = greatest(at, now() - @keep::float8 * interval '1 second')
RETURNING at`

// raiseMark moves the mark up, never down: what was pruned under a shorter retention stays forgotten.
func raiseMark(ctx context.Context, tx pgx.Tx, keep time.Duration) (mark time.Time, err error) {
	err = tx.QueryRow(ctx, raiseMarkSQL, pgx.StrictNamedArgs{"keep": keep.Seconds()}).Scan(&mark)
	if err != nil {
		return mark, fmt.Errorf("raising the mark of pruned rows: %w", err)
	}
	return mark, nil
}

// The ids of sagas are in the order of their births, so what is old lies together. A row that is locked is in use.
const pruneSQL = `
WITH old AS (
    SELECT saga_id, step, generation
    FROM step
    WHERE saga_id >= @from
        AND saga_id < @bound
        AND get_byte(uuid_send(saga_id), 6) >> 4 = 7
        AND next_probe_at IS NULL
        AND updated_at < @before
    ORDER BY saga_id
    LIMIT @max
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM step AS s
    USING old
    WHERE s.saga_id = old.saga_id AND s.step = old.step AND s.generation = old.generation
    RETURNING s.saga_id
)
SELECT
    (SELECT count(*) FROM gone),
    coalesce((SELECT saga_id FROM gone ORDER BY saga_id DESC LIMIT 1), @from)`

// prunedRows says how many rows are gone, and of which saga the last one was.
type prunedRows struct {
	count int64
	last  uuid.UUID
}

// pruneRows deletes settled rows that were last changed before the given time, of sagas that began before it.
func pruneRows(ctx context.Context, tx pgx.Tx, from uuid.UUID, before time.Time, limit int) (prunedRows, error) {
	var pruned prunedRows
	err := tx.QueryRow(ctx, pruneSQL, pgx.StrictNamedArgs{
		"from": from, "bound": firstIDOf(before), "before": before, "max": limit,
	}).Scan(&pruned.count, &pruned.last)
	if err != nil {
		return pruned, fmt.Errorf("pruning step rows: %w", err)
	}
	return pruned, nil
}

// firstIDOf is the lowest UUIDv7 of a millisecond.
func firstIDOf(t time.Time) uuid.UUID {
	id := uuid.UUID{6: 0x70, 8: 0x80}
	ms := max(0, t.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	return id
}

const countOpenSQL = `
SELECT
    count(*),
    coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8,
    clock_timestamp()
FROM step
WHERE next_probe_at IS NOT NULL`

// openRows are the rows in doubt, as the database counts them at a time of its clock.
type openRows struct {
	count  int64
	oldest time.Duration
	now    time.Time
}

func countOpen(ctx context.Context, pool *pgxpool.Pool) (open openRows, err error) {
	var seconds float64
	if err := pool.QueryRow(ctx, countOpenSQL).Scan(&open.count, &seconds, &open.now); err != nil {
		return open, fmt.Errorf("counting rows in doubt: %w", err)
	}
	open.oldest = time.Duration(seconds * float64(time.Second))
	return open, nil
}

func scanRow(found pgx.CollectableRow) (*storedRow, error) {
	var (
		row     storedRow
		state   int16
		probeIn float64
	)
	err := found.Scan(&row.key.saga, &row.key.step, &row.key.generation, &row.orderID, &state, &row.EffectSeq,
		&row.UndoWanted, &row.commandType, &row.command, &row.undo, &row.reply, &row.probes, &row.asking,
		&probeIn)
	row.State = State(state)
	row.probeIn = time.Duration(probeIn * float64(time.Second))
	return &row, err
}
