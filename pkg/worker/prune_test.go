package worker_test

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

const longAgo = 60 * 24 * time.Hour

// aged is the meta as it was when its saga began and was issued so long ago.
func aged(meta *sagav1.CommandMeta, age time.Duration) *sagav1.CommandMeta {
	born := time.Now().Add(-age)
	id := uuid.MustParse(meta.GetSagaId())
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(born.UnixMilli()))
	copy(id[:6], ms[2:])
	meta.SagaId, meta.IssuedAt = id.String(), timestamppb.New(born)
	return meta
}

func reserveAged(sku string, age time.Duration) *inventoryv1.ReserveStock {
	do := reserve(sku, 1)
	aged(do.GetMeta(), age)
	return do
}

// age makes all rows as old as they would be.
func age(t *testing.T, kit *workertest.Kit, by time.Duration) {
	t.Helper()
	_, err := kit.Pool.Exec(t.Context(), `UPDATE step SET updated_at = updated_at - $1::interval`, by)
	require.NoError(t, err)
}

// prune deletes all that may go.
func prune(t *testing.T, kit *workertest.Kit) (batches int) {
	t.Helper()
	from := uuid.Nil
	for {
		var err error
		from, err = kit.Worker.Prune(t.Context(), from)
		require.NoError(t, err)
		if batches++; from == uuid.Nil {
			return batches
		}
	}
}

func tooOld(t *testing.T, kit *workertest.Kit) int {
	t.Helper()
	return mustCount(t, kit.Pool, `SELECT count(*) FROM dead_letter WHERE reason = 'too_old'`)
}

func steps(t *testing.T, kit *workertest.Kit) int {
	t.Helper()
	return mustCount(t, kit.Pool, `SELECT count(*) FROM step`)
}

func TestPrune_what_is_forgotten_never_takes_effect(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	done, refused, voided, undone := reserveAged(skuPlain, longAgo), reserveAged(skuNone, longAgo),
		reserveAged(skuPlain, longAgo), reserveAged(skuPlain, longAgo)
	require.NotNil(t, kit.Do(t, done).GetDone())
	require.NotNil(t, kit.Do(t, refused).GetRefused())
	require.NotNil(t, kit.Undo(t, release(voided)).GetUndone())
	require.NotNil(t, kit.Do(t, undone).GetDone())
	require.NotNil(t, kit.Undo(t, release(undone)).GetUndone())
	require.Equal(t, 1, holds(t, kit.Pool))
	age(t, kit, longAgo)
	require.Equal(t, 1, prune(t, kit))
	require.Zero(t, steps(t, kit))

	never := reserveAged(skuPlain, longAgo)
	for n, do := range []*inventoryv1.ReserveStock{done, refused, voided, undone, never} {
		undo := release(do)
		require.Empty(t, kit.Send(t, do, undo, workertest.Again(t, do)), "nobody answers: it is not known what to say")
		require.Equal(t, 3*(n+1), tooOld(t, kit))
		// Sent anew today, as a coordinator does as long as it has no answer.
		again := workertest.Again(t, do)
		again.GetMeta().IssuedAt = timestamppb.Now()
		require.Empty(t, kit.Send(t, again))
		require.Equal(t, worker.StateAbsent, kit.State(t, do))
		_, err := kit.Pool.Exec(t.Context(), `DELETE FROM dead_letter WHERE value = $1`, kit.Records(t, again)[0].Value)
		require.NoError(t, err)
	}
	require.Equal(t, 1, holds(t, kit.Pool), "what was done stays as it is")
	var text string
	require.NoError(t, kit.Pool.QueryRow(t.Context(), `SELECT error FROM dead_letter LIMIT 1`).Scan(&text))
	require.Contains(t, text, "KEEP_STEPS")
	require.NotNil(t, kit.Do(t, reserve(skuPlain, 1)).GetDone(), "and what is new goes on")
}

func TestPrune_leaves_what_is_young_or_open(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.silent = 100
	doubted, wanted, undoing := authorize(tokenLost), authorize(tokenLost), authorize(tokenVoidLost)
	settledLate, young := authorize(tokenPlain), authorize(tokenPlain)
	for _, do := range []worker.Input{doubted, wanted, undoing, settledLate} {
		aged(do.GetMeta(), longAgo)
	}
	require.NotNil(t, kit.Do(t, doubted).GetInDoubt())
	require.NotNil(t, kit.Do(t, wanted).GetInDoubt())
	require.NotNil(t, kit.Undo(t, void(wanted)).GetInDoubt())
	require.NotNil(t, kit.Do(t, undoing).GetDone())
	require.NotNil(t, kit.Undo(t, void(undoing)).GetInDoubt())
	age(t, kit, longAgo)
	require.NotNil(t, kit.Do(t, settledLate).GetDone(), "settled today, by a saga that is old")
	require.NotNil(t, kit.Do(t, young).GetDone())
	prune(t, kit)
	require.Equal(t, 5, steps(t, kit))
	require.NotNil(t, kit.Do(t, workertest.Again(t, doubted)).GetInDoubt(), "its row answers, whatever its age")
	require.NotNil(t, kit.Do(t, workertest.Again(t, settledLate)).GetDone())
	require.Zero(t, tooOld(t, kit))
}

func TestPrune_not_before_its_time(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	// 45 days are kept, and a day on top for clocks that differ.
	var dos []*inventoryv1.ReserveStock
	for _, old := range []time.Duration{44 * 24 * time.Hour, 45*24*time.Hour + 12*time.Hour} {
		do := reserveAged(skuPlain, old)
		require.NotNil(t, kit.Undo(t, release(do)).GetUndone())
		_, err := kit.Pool.Exec(t.Context(), `UPDATE step SET updated_at = updated_at - $1::interval WHERE saga_id = $2`,
			old, do.GetMeta().GetSagaId())
		require.NoError(t, err)
		dos = append(dos, do)
	}
	prune(t, kit)
	for _, do := range dos {
		require.Equal(t, worker.StateVoid, kit.State(t, do))
		require.NotNil(t, kit.Do(t, do).GetFenced(), "its tombstone answers")
	}
	require.Zero(t, holds(t, kit.Pool))
	require.Zero(t, tooOld(t, kit))
}

func TestPrune_before_the_first_an_old_command_runs(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	require.NotNil(t, kit.Do(t, reserveAged(skuPlain, longAgo)).GetDone(), "nothing was forgotten yet")
	prune(t, kit)
	require.Empty(t, kit.Send(t, reserveAged(skuPlain, longAgo)))
	require.NotNil(t, kit.Do(t, reserveAged(skuPlain, 44*24*time.Hour)).GetDone(), "after the mark")
	require.Equal(t, 1, tooOld(t, kit))

	// A longer retention does not bring back what a shorter one has deleted.
	longer := workertest.New(t, kit.Pool, registerShelf, func(c *worker.Config) { c.KeepSteps = 10 * longAgo })
	prune(t, longer)
	require.Empty(t, longer.Send(t, reserveAged(skuPlain, longAgo)))
}

// Late dos and the pruning of their tombstones at the same time: whoever comes first, no do takes effect.
func TestPrune_beside_late_dos(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	var late []worker.Input
	for range 400 {
		do := reserveAged(skuPlain, longAgo)
		late = append(late, do)
		require.NotNil(t, kit.Undo(t, release(do)).GetUndone())
	}
	age(t, kit, longAgo)
	other := workertest.New(t, kit.Pool, registerShelf)
	var both sync.WaitGroup
	both.Go(func() {
		for i := 0; i < len(late); i += 20 {
			_, err := other.Worker.Process(t.Context(), other.Records(t, late[i:i+20]...))
			assert.NoError(t, err)
		}
	})
	both.Go(func() {
		from := uuid.Nil
		for range 200 {
			var err error
			from, err = kit.Worker.Prune(t.Context(), from)
			if !assert.NoError(t, err) || mustCount(t, kit.Pool, `SELECT count(*) FROM step`) == 0 {
				return
			}
		}
	})
	both.Wait()
	require.Zero(t, holds(t, kit.Pool))
	require.Zero(t, steps(t, kit))
}

func TestPrune_goes_in_batches(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	_, err := kit.Pool.Exec(t.Context(), `
		INSERT INTO step (saga_id, step, generation, order_id, state, effect_seq, undo_wanted, command_type, command,
			reply, probes, asking, updated_at)
		SELECT
			overlay(overlay(gen_random_uuid()::text PLACING '01900000' FROM 1) PLACING '7' FROM 15)::uuid,
			'reserve_stock', n, gen_random_uuid(), 2, 1, false, 'x', '', '', 0, false, now() - interval '60 days'
		FROM generate_series(1, 2500) AS n`)
	require.NoError(t, err)
	require.Equal(t, 3, prune(t, kit))
	require.Zero(t, steps(t, kit))
}

func TestPrune_forgets_closed_letters_only(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	for range 6 {
		kit.Send(t, reserve(skuPanic, 1))
	}
	_, err := kit.Pool.Exec(t.Context(), `
		UPDATE dead_letter
		SET error = name, redriven_at = now() - redriven * interval '1 day',
			dismissed_at = now() - dismissed * interval '1 day', dismissed_reason = dismissed::text
		FROM (SELECT id, row_number() OVER () AS n FROM dead_letter) AS numbered
		JOIN (VALUES
			(1, 'open', NULL, NULL),
			(2, 'redriven lately', 60, NULL),
			(3, 'redriven long ago', 120, NULL),
			(4, 'dismissed lately', NULL, 60),
			(5, 'dismissed long ago', NULL, 120),
			(6, 'dismissed long ago and redriven lately', 60, 120)
		) AS wanted (n, name, redriven, dismissed) ON wanted.n = numbered.n
		WHERE numbered.id = dead_letter.id`)
	require.NoError(t, err)
	prune(t, kit)
	rows, err := kit.Pool.Query(t.Context(), `SELECT error FROM dead_letter`)
	require.NoError(t, err)
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		"open", "redriven lately", "dismissed lately", "dismissed long ago and redriven lately",
	}, left)
}

// The usual way costs nothing: no command that is young looks at the mark.
func TestPrune_costs_the_hot_path_nothing(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	prune(t, kit)
	for _, sql := range kit.Count(t, reserve(skuPlain, 1), reserve(skuPlain, 2)) {
		require.False(t, strings.Contains(sql, "step_low_water"), sql)
	}
	with := kit.Count(t, reserve(skuPlain, 1), reserveAged(skuPlain, longAgo), reserveAged(skuPlain, longAgo))
	require.Equal(t, 1, strings.Count(strings.Join(with, "\n"), "step_low_water"))
}

func TestRun_refuses_a_retention_that_is_too_short(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	p := newParticipant(t, kit)
	p.cfg.KeepSteps = 100 * time.Hour
	w, err := worker.New(p.cfg, kit.Pool, kafkatest.Log(t), nil)
	require.NoError(t, err)
	registerShelf(w)
	err = w.Run(t.Context())
	require.ErrorContains(t, err, "KEEP_STEPS is 100h0m0s")
	require.ErrorContains(t, err, "192h0m0s or more")
	_, err = worker.New(worker.Config{Participant: "p", KeepSteps: 71 * time.Hour}, nil, kafkatest.Log(t), nil)
	require.ErrorContains(t, err, "KEEP_STEPS")
}

func TestParseEffectKey(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.NewV7())
	for _, want := range []worker.Effect{{id, "reserve_stock", 1}, {id, "a:b", 2147483647}, {id, "x", 0}} {
		have, err := worker.ParseEffectKey(worker.EffectKey(want.SagaID, want.Step, want.Generation))
		require.NoError(t, err)
		require.Equal(t, want, have)
	}
	for _, wrong := range []string{"", "x", id.String(), id.String() + ":s", id.String() + "::1", id.String() + ":s:-1", "x:s:1"} {
		_, err := worker.ParseEffectKey(wrong)
		require.Error(t, err, wrong)
	}
}
