package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestCall_answered_at_once(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenPlain)
	reply := kit.Do(t, do)
	require.EqualValues(t, 4200, reply.GetDone().GetEffects()[0].GetAmount())
	require.EqualValues(t, 1, reply.GetAttempt(), "the answer to the command")
	require.Equal(t, 1, g.asks(key(do)))
	require.Equal(t, 1, mustCount(t, kit.Pool, `SELECT count(*) FROM payment WHERE status = 'authorized'`))
}

func TestCall_unknown_then_done(t *testing.T) {
	t.Parallel()
	for _, token := range []string{tokenLost, tokenUntouched, tokenPanic} {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			kit, g := newTill(t)
			do := authorize(token)
			reply := kit.Do(t, do)
			require.NotEmpty(t, reply.GetInDoubt().GetReason(), "no guess: %v", reply)
			require.Zero(t, reply.GetEffectSeq(), "no fact")
			require.True(t, reply.GetInDoubt().GetNextProbe().AsTime().After(time.Now()))
			require.Equal(t, worker.StateInDoubt, kit.State(t, do))

			again := kit.Do(t, workertest.Again(t, do))
			require.NotNil(t, again.GetInDoubt())
			require.Equal(t, 1, g.asks(key(do)), "a repeat makes no second call")

			late := kit.Resolve(t)
			require.Len(t, late, 1)
			require.NotNil(t, late[0].GetDone())
			require.Zero(t, late[0].GetAttempt(), "the participant speaks first")
			require.EqualValues(t, 1, late[0].GetEffectSeq())
			require.Equal(t, 1, g.blocked())
			require.Empty(t, kit.Resolve(t), "nothing is open any more")
		})
	}
}

func TestCall_unknown_then_refused(t *testing.T) {
	t.Parallel()
	kit, _ := newTill(t)
	do := authorize(tokenLostDeclined)
	require.NotNil(t, kit.Do(t, do).GetInDoubt())
	late := kit.Resolve(t)
	require.Len(t, late, 1)
	require.Equal(t, "card_declined", late[0].GetRefused().GetCode())
	require.Equal(t, "card_declined", kit.Do(t, workertest.Again(t, do)).GetRefused().GetCode())
}

func TestCall_unknown_for_long(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.silent = 4
	do := authorize(tokenLost)
	require.NotNil(t, kit.Do(t, do).GetInDoubt())
	var waits []time.Duration
	for range 3 {
		late := kit.Resolve(t)
		require.Len(t, late, 1)
		waits = append(waits, time.Until(late[0].GetInDoubt().GetNextProbe().AsTime()).Round(time.Second))
	}
	require.IsIncreasing(t, waits, "the questions become rarer")
	require.NotNil(t, kit.Resolve(t)[0].GetDone())
	require.Equal(t, 1, g.blocked())
}

func TestCall_undo_while_in_doubt(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, token string
		want        []string
	}{
		{"then done", tokenLost, []string{"do done 1", "undo undone 2"}},
		{"then refused", tokenLostDeclined, []string{"do refused 1", "undo nothing 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kit, g := newTill(t)
			do := authorize(tc.token)
			require.NotNil(t, kit.Do(t, do).GetInDoubt())
			require.NotNil(t, kit.Undo(t, void(do)).GetInDoubt())
			require.NotNil(t, kit.Undo(t, workertest.Again(t, void(do))).GetInDoubt())

			late := kit.Resolve(t)
			require.Equal(t, tc.want, summaries(late))
			for _, reply := range late {
				require.Zero(t, reply.GetAttempt())
			}
			require.Zero(t, g.blocked())
			require.NotNil(t, kit.Undo(t, void(do)).GetUndone())
		})
	}
}

func TestCall_undo_while_the_call_is_on_its_way(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.held = make(chan struct{})
	do := authorize(tokenPlain)
	_, err := kit.Worker.Process(t.Context(), kit.Records(t, do))
	require.NoError(t, err)
	<-g.arrived
	_, err = kit.Worker.Process(t.Context(), kit.Records(t, void(do)))
	require.NoError(t, err)
	close(g.held)
	late := kit.Resolve(t)
	require.Equal(t, []string{"do done 1", "undo undone 2"}, summaries(late))
	require.EqualValues(t, 1, late[0].GetAttempt(), "the do was answered by its own call")
	require.Zero(t, late[1].GetAttempt(), "the undo by a participant that speaks first")
	require.Zero(t, g.blocked())
	require.Equal(t, 1, g.asks(key(do)))
}

func TestCall_undo_while_in_doubt_is_asked_about_at_once(t *testing.T) {
	t.Parallel()
	kit, _ := newTill(t, func(c *worker.Config) { c.ProbeDelays = []time.Duration{time.Hour} })
	do := authorize(tokenLost)
	require.NotNil(t, kit.Do(t, do).GetInDoubt())
	asked, err := kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Zero(t, asked, "the question is due in an hour")

	require.NotNil(t, kit.Undo(t, void(do)).GetInDoubt())
	asked, err = kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	require.NoError(t, kit.Worker.Await(t.Context()))
}

// A stop in the middle of a claim used to leave questions leased and unasked.
func TestCall_claimed_while_stopping(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenLost)
	require.NotNil(t, kit.Do(t, do).GetInDoubt())
	_, err := kit.Pool.Exec(t.Context(), `UPDATE step SET next_probe_at = now()`)
	require.NoError(t, err)
	lock, err := kit.Pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), `LOCK TABLE step IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan int, 1)
	go func() {
		n, _ := kit.Worker.Resolve(ctx) // the number says it all
		asked <- n
	}()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, 1, mustCount(t, kit.Pool, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'step'::regclass`))
	}, 10*time.Second, 10*time.Millisecond)
	stop()
	require.NoError(t, lock.Rollback(t.Context()))
	require.Equal(t, 1, <-asked)
	require.NoError(t, kit.Worker.Await(t.Context()))
	require.Equal(t, 2, g.asks(key(do)))
}

func TestCall_undo_unknown(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenVoidLost)
	require.NotNil(t, kit.Do(t, do).GetDone())
	require.NotNil(t, kit.Undo(t, void(do)).GetInDoubt())
	require.Equal(t, worker.StateUndoInDoubt, kit.State(t, do))
	require.NotNil(t, kit.Do(t, workertest.Again(t, do)).GetFenced(), "no do while the undo is in doubt")
	require.NotNil(t, kit.Undo(t, workertest.Again(t, void(do))).GetInDoubt())
	require.Equal(t, []string{"undo undone 2"}, summaries(kit.Resolve(t)))
	require.Zero(t, g.blocked())
}

func TestCall_undo_in_doubt_is_asked_about_soon_however_long_the_do_took(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.silent = 4
	do := authorize(tokenLost)
	kit.Do(t, do)
	for range g.silent {
		kit.Resolve(t)
	}
	require.Equal(t, worker.StateDone, kit.State(t, do))
	g.loseVoids()
	next := kit.Undo(t, void(do)).GetInDoubt().GetNextProbe().AsTime()
	require.Less(t, time.Until(next), 2*time.Second)
}

func TestCall_undo_while_the_resolver_asks(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenLost)
	require.NotNil(t, kit.Do(t, do).GetInDoubt())
	<-g.arrived
	g.held = make(chan struct{})
	_, err := kit.Pool.Exec(t.Context(), `UPDATE step SET next_probe_at = now()`)
	require.NoError(t, err)
	asked, err := kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	<-g.arrived

	other := workertest.New(t, kit.Pool, registerTill(g))
	require.NotNil(t, other.Undo(t, void(do)).GetInDoubt())
	asked, err = other.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Zero(t, asked, "the question is being asked")
	close(g.held)
	require.Equal(t, []string{"do done 1", "undo undone 2"}, summaries(kit.Resolve(t)))
}

// A process that dies before the commit has forgotten the command, so nobody may have been asked for it.
func TestCall_is_not_made_before_its_row_is_committed(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenPlain)
	require.True(t, kit.Crash(t, crash.WorkerBeforeCommit, do))
	require.Equal(t, worker.StateAbsent, kit.State(t, do))
	require.Zero(t, g.asks(key(do)))
}

// A call that could not begin while its lease lasts is left to the resolver.
func TestCall_that_waited_too_long_is_not_made(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t, func(c *worker.Config) { c.MaxCalls, c.CallTimeout = 1, 10*time.Millisecond })
	g.held, g.deaf = make(chan struct{}), true
	first, second := authorize(tokenPlain), authorize(tokenPlain)
	_, err := kit.Worker.Process(t.Context(), kit.Records(t, first, second))
	require.NoError(t, err)
	<-g.arrived
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var due bool
		err := kit.Pool.QueryRow(t.Context(), `SELECT bool_and(next_probe_at < now()) FROM step`).Scan(&due)
		require.NoError(c, err)
		require.True(c, due)
	}, 10*time.Second, 50*time.Millisecond)
	close(g.held)
	require.NoError(t, kit.Worker.Await(t.Context()))
	require.Equal(t, 1, g.asks(key(first))+g.asks(key(second)))
	// With so short a timeout a busy machine may need several questions for each.
	for tries := 0; g.blocked() < 2 && tries < 200; tries++ {
		kit.Resolve(t)
	}
	require.Equal(t, 2, g.blocked(), "the resolver has made up for it")
}

// New commands that never stop coming used to keep the resolver from asking at all.
func TestCall_in_doubt_is_asked_about_on_a_busy_day(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t, func(c *worker.Config) { c.MaxCalls, c.MaxBatch = 4, 8 })
	doubtful := []worker.Input{authorize(tokenLost), authorize(tokenLost)}
	kit.Send(t, doubtful...)
	_, err := kit.Pool.Exec(t.Context(), `UPDATE step SET next_probe_at = now()`)
	require.NoError(t, err)
	g.held = make(chan struct{})
	var busy []worker.Input
	for range 12 {
		busy = append(busy, authorize(tokenPlain))
	}
	_, err = kit.Worker.Process(t.Context(), kit.Records(t, busy...))
	require.NoError(t, err)

	asked, err := kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, asked, "a quarter of the calls")
	asked, err = kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Zero(t, asked, "and no more, while nothing comes back")
	close(g.held)
	require.NoError(t, kit.Worker.Await(t.Context()))
	require.Equal(t, 3, g.asks(key(doubtful[0].(*paymentv1.AuthorizePayment)))+g.asks(key(doubtful[1].(*paymentv1.AuthorizePayment))))
}

// The row in doubt is all that a dead process leaves, and all that the next one needs.
func TestCall_death_after_prepare(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenPlain)
	require.True(t, kit.Crash(t, crash.WorkerAfterCommit, do))
	require.Zero(t, g.asks(key(do)), "it died before the call")
	require.Equal(t, worker.StateInDoubt, kit.State(t, do))

	asked, err := kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Zero(t, asked, "while the lease of the first call lasts nobody else asks")

	require.Equal(t, []string{"do done 1"}, summaries(kit.Resolve(t)))
	require.Equal(t, 1, g.blocked())
}

func TestCall_death_before_settling(t *testing.T) {
	t.Parallel()
	for _, point := range []crash.Name{crash.WorkerAfterCall, crash.WorkerBeforeSettleCommit} {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			kit, g := newTill(t)
			do := authorize(tokenPlain)
			require.True(t, kit.Crash(t, point, do))
			require.Equal(t, 1, g.asks(key(do)))
			require.Equal(t, worker.StateInDoubt, kit.State(t, do))
			require.Equal(t, []string{"do done 1"}, summaries(kit.Resolve(t)))
			require.Equal(t, 1, g.blocked())
		})
	}
}

func TestCall_death_after_settling(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenPlain)
	require.True(t, kit.Crash(t, crash.WorkerAfterSettleCommit, do))
	require.Empty(t, kit.Resolve(t), "the answer is written down")
	require.NotNil(t, kit.Do(t, workertest.Again(t, do)).GetDone(), "and the coordinator's resend gets it")
	require.Equal(t, 1, g.asks(key(do)))
}

// While one process has the call on its way, another one's resolver leaves it alone, and of two answers one counts.
func TestCall_two_owners(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.held = make(chan struct{})
	other := workertest.New(t, kit.Pool, registerTill(g))
	do := authorize(tokenPlain)
	replies, err := kit.Worker.Process(t.Context(), kit.Records(t, do))
	require.NoError(t, err)
	require.Empty(t, replies, "nothing is known yet")
	<-g.arrived

	asked, err := other.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Zero(t, asked, "the lease holds")
	require.NotNil(t, other.Do(t, workertest.Again(t, do)).GetInDoubt())

	// The lease ends although the first process lives: it was paused for too long.
	_, err = kit.Pool.Exec(t.Context(), `UPDATE step SET next_probe_at = now()`)
	require.NoError(t, err)
	asked, err = other.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	<-g.arrived
	close(g.held)

	first, err := kit.Worker.Settle(t.Context())
	require.NoError(t, err)
	require.Len(t, first, 1)
	second, err := other.Worker.Settle(t.Context())
	require.NoError(t, err)
	require.Empty(t, second, "the question was settled already")
	require.Equal(t, 1, g.blocked())
	require.Zero(t, kit.Worker.Outstanding())
	require.Zero(t, other.Worker.Outstanding())
}

func TestCall_own_resolver_does_not_ask_twice(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.held = make(chan struct{})
	_, err := kit.Worker.Process(t.Context(), kit.Records(t, authorize(tokenPlain)))
	require.NoError(t, err)
	<-g.arrived
	_, err = kit.Pool.Exec(t.Context(), `UPDATE step SET next_probe_at = now()`)
	require.NoError(t, err)
	_, err = kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, kit.Worker.Outstanding())
	close(g.held)
	replies, err := kit.Worker.Settle(t.Context())
	require.NoError(t, err)
	require.Len(t, replies, 1)
	require.Empty(t, g.arrived, "there was one call")
}

func TestCall_timeout_is_unknown(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t, func(c *worker.Config) { c.CallTimeout = 20 * time.Millisecond })
	g.held = make(chan struct{})
	reply := kit.Do(t, authorize(tokenPlain))
	require.Contains(t, reply.GetInDoubt().GetReason(), "deadline exceeded")
}

func TestCall_answers_that_come_together_are_settled_together(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t, func(c *worker.Config) { c.MaxCalls = 4 })
	var commands []worker.Input
	for range 50 {
		commands = append(commands, authorize(tokenPlain))
	}
	require.Len(t, kit.Count(t, commands...), 5, "the domain's, insert; load, the domain's, update")
	require.Equal(t, 50, g.blocked())
}

// An answer that cannot be written down is asked for again; the others are written down.
func TestCall_failing_settle_is_postponed(t *testing.T) {
	t.Parallel()
	kit, _ := newTill(t)
	culprit := authorize(tokenBadSettle)
	replies := kit.Send(t, authorize(tokenPlain), authorize(tokenPlain), culprit, authorize(tokenDeclined))
	require.ElementsMatch(t, []string{"do done 1", "do done 1", "do in_doubt 0", "do refused 1"}, summaries(replies))
	require.Equal(t, worker.StateInDoubt, kit.State(t, culprit))
	require.Equal(t, []string{"do in_doubt 0"}, summaries(kit.Resolve(t)))
}

func key(do worker.Input) string {
	meta := do.GetMeta()
	return meta.GetSagaId() + ":" + meta.GetStep() + ":1"
}

// summaries tells replies in a few words: operation, outcome, effect_seq.
func summaries(replies []*sagav1.Reply) []string {
	var told []string
	for _, reply := range replies {
		told = append(told, summary(reply))
	}
	return told
}

// A resolver that finds a row due before the last answer about it is out of this process's hands has the lease, and
// used not to ask: nobody did until the lease had ended.
func TestCall_question_claimed_before_the_last_answer_is_settled(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	do := authorize(tokenLost)
	_, err := kit.Worker.Process(t.Context(), kit.Records(t, do))
	require.NoError(t, err)
	require.NoError(t, kit.Worker.Await(t.Context()))
	_, err = kit.Pool.Exec(t.Context(), `UPDATE step SET next_probe_at = now()`)
	require.NoError(t, err)
	claimed, err := kit.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, claimed)
	require.Equal(t, 1, g.asks(key(do)), "one question at a time")

	_, err = kit.Worker.Settle(t.Context())
	require.NoError(t, err)
	require.NoError(t, kit.Worker.Await(t.Context()))
	require.Equal(t, 2, g.asks(key(do)), "asked as soon as the answer before it is settled")
}
