package payment_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/payment"
)

// What happens when the provider's answer is lost, wrong or late: nothing is guessed, nothing is asked for twice.

func TestAuthorize_InDoubt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		call     payment.Call
		faults   []fault
		attempts []string
	}{
		{"answer to create lost", payment.CallCreate, []fault{dropAfter}, []string{
			"1 create reset", "2 confirm not_sent", "3 list response 200", "4 confirm response 200",
		}},
		{"create never arrived", payment.CallCreate, []fault{dropBefore}, []string{
			"1 create reset", "2 confirm not_sent", "3 list response 200", "4 create response 200", "5 confirm response 200",
		}},
		{"500 to create, saved", payment.CallCreate, []fault{error500}, []string{
			"1 create response 500", "2 confirm not_sent", "3 list response 200", "4 confirm response 200",
		}},
		{"answer to confirm lost", payment.CallConfirm, []fault{dropAfter}, []string{
			"1 create response 200", "2 confirm reset", "3 list response 200",
		}},
		{"confirm never arrived", payment.CallConfirm, []fault{dropBefore}, []string{
			"1 create response 200", "2 confirm reset", "3 list response 200", "4 confirm response 200",
		}},
		{"500 to confirm, saved", payment.CallConfirm, []fault{error500}, []string{
			"1 create response 200", "2 confirm response 500", "3 list response 200",
		}},
		{"nonsense for an answer", payment.CallConfirm, []fault{nonsense}, []string{
			"1 create response 200", "2 confirm response 200", "3 list response 200",
		}},
		{"too many requests", payment.CallConfirm, []fault{busy}, []string{
			"1 create response 200", "2 confirm response 429", "3 list response 200", "4 confirm response 200",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.provider.next(test.call, test.faults...)
			meta := workertest.Meta(authorizeStep)
			doubt := b.Do(t, authorize(meta, "tok_visa")).GetInDoubt()
			require.NotNil(t, doubt)
			require.NotEmpty(t, doubt.GetReason())
			require.Equal(t, []string{"authorize unknown"}, operationsOf(t, b.Pool, meta))
			require.Equal(t, "authorizing", intentOf(t, b.Pool, meta).State)
			require.NotNil(t, b.Do(t, workertest.Again(t, authorize(meta, "tok_visa"))).GetInDoubt(), "no second call")

			replies := b.Resolve(t)
			require.Len(t, replies, 1, "the participant speaks first")
			require.NotNil(t, replies[0].GetDone())
			require.Equal(t, 1, b.provider.count("authorize"))
			require.Equal(t, 1, b.provider.held())
			require.LessOrEqual(t, b.provider.keysOf(payment.CallConfirm), 1, "never under a new key")
			require.Equal(t, test.attempts, attemptsOf(t, b.Pool, meta))
			requireBooksAgree(t, b.Pool)
		})
	}
}

func TestCapture_InDoubt(t *testing.T) {
	t.Parallel()
	for _, strikes := range []fault{dropAfter, dropBefore, error500, nonsense, busy} {
		t.Run(string(strikes), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			meta := workertest.Meta(authorizeStep)
			require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetDone())
			b.provider.next(payment.CallCapture, strikes)
			require.NotNil(t, b.Do(t, capture(meta)).GetInDoubt())
			intent := intentOf(t, b.Pool, meta)
			require.Equal(t, "capturing", intent.State)
			require.EqualValues(t, 1999, intent.CapturePending, "the headroom stays taken")

			require.Equal(t, "ch_pi_1", b.Resolve(t)[0].GetDone().GetHandles()["capture_ref"])
			require.Equal(t, "captured", intentOf(t, b.Pool, meta).State)
			require.Equal(t, 1, b.provider.count("capture"))
			require.Equal(t, 1, b.provider.keysOf(payment.CallCapture))
			requireBooksAgree(t, b.Pool)
		})
	}
}

func TestVoid_InDoubt(t *testing.T) {
	t.Parallel()
	for _, strikes := range []fault{dropAfter, dropBefore, error500, nonsense, busy} {
		t.Run(string(strikes), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			meta := workertest.Meta(authorizeStep)
			require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetDone())
			b.provider.next(payment.CallCancel, strikes)
			require.NotNil(t, b.Undo(t, void(meta)).GetInDoubt())
			require.Equal(t, "voiding", intentOf(t, b.Pool, meta).State)

			undone := b.Resolve(t)[0].GetUndone()
			require.NotNil(t, undone)
			require.False(t, undone.GetNothing())
			require.Equal(t, "voided", intentOf(t, b.Pool, meta).State)
			require.Equal(t, 1, b.provider.count("void"))
			require.Equal(t, 1, b.provider.keysOf(payment.CallCancel))
			requireBooksAgree(t, b.Pool)
		})
	}
}

// The provider does it long after we gave up waiting. A repeat in between meets the first request and is no second one.
func TestAuthorize_LateEffect(t *testing.T) {
	t.Parallel()
	b := setupWith(t, patient, time.Second)
	b.provider.next(payment.CallConfirm, late)
	meta := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetInDoubt())
	require.Zero(t, b.provider.held())
	require.NotNil(t, b.Resolve(t)[0].GetInDoubt(), "the key is in use")
	b.provider.releaseLate()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, 1, b.provider.held())
	}, 10*time.Second, 10*time.Millisecond)
	require.NotNil(t, b.Resolve(t)[0].GetDone())
	require.Equal(t, 1, b.provider.count("authorize"))
	require.Equal(t, []string{
		"1 create response 200", "2 confirm timeout",
		"3 list response 200", "4 confirm response 409",
		"5 list response 200",
	}, attemptsOf(t, b.Pool, meta))
}

// As long as the effect may still show, nothing is sent again.
func TestAuthorize_WaitsForVisibility(t *testing.T) {
	t.Parallel()
	b := setupWith(t, payment.Policy{Visibility: time.Hour, KeyLife: 2 * time.Hour}, unhurried)
	b.provider.next(payment.CallConfirm, dropBefore)
	meta := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetInDoubt())
	require.NotNil(t, b.Resolve(t)[0].GetInDoubt())
	require.Equal(t, []string{
		"1 create response 200", "2 confirm reset", "3 list response 200",
	}, attemptsOf(t, b.Pool, meta))
	require.Zero(t, b.provider.keysOf(payment.CallConfirm), "the one that was sent never arrived")
}

// When the provider may have forgotten the key, sending again would be a second payment: a person must look.
func TestAuthorize_ForgottenKeyIsNeverSentAgain(t *testing.T) {
	t.Parallel()
	b := setupWith(t, payment.Policy{Visibility: time.Nanosecond, KeyLife: 2 * time.Nanosecond}, unhurried)
	b.provider.next(payment.CallConfirm, dropBefore)
	meta := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetInDoubt())
	b.provider.forgetKeys()
	for range 2 {
		require.NotNil(t, b.Resolve(t)[0].GetInDoubt())
	}
	require.Equal(t, []string{"authorize manual"}, operationsOf(t, b.Pool, meta))
	require.Zero(t, b.provider.held())
	require.Equal(t, []string{
		"1 create response 200", "2 confirm reset", "3 list response 200", "4 list response 200",
	}, attemptsOf(t, b.Pool, meta))
}

// Wrong credentials are nobody's refusal: the payment waits and goes on when the setting is mended.
func TestAuthorize_WrongCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.provider.next(payment.CallCreate, unauthorized)
	b.provider.next(payment.CallList, unauthorized)
	meta := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetInDoubt())
	require.NotNil(t, b.Resolve(t)[0].GetInDoubt())
	require.NotNil(t, b.Resolve(t)[0].GetDone())
	require.Equal(t, 1, b.provider.count("authorize"))
}

func TestOutage_ThenHealed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	toCapture, toVoid := workertest.Meta(authorizeStep), workertest.Meta(authorizeStep)
	b.Send(t, authorize(toCapture, "tok_visa"), authorize(toVoid, "tok_visa"))
	require.Equal(t, 2, b.provider.held())

	b.provider.setOutage(true)
	commands := []worker.Input{capture(toCapture), void(toVoid)}
	for range 10 {
		commands = append(commands, authorize(workertest.Meta(authorizeStep), "tok_visa"))
	}
	inDoubt := func(r *sagav1.Reply) bool { return r.GetInDoubt() != nil }
	requireAll(t, b.Send(t, commands...), len(commands), "in doubt", inDoubt)
	for range 2 {
		requireAll(t, b.Resolve(t), len(commands), "in doubt", inDoubt)
	}
	b.provider.setOutage(false)
	requireAll(t, b.Resolve(t), len(commands), "settled", func(r *sagav1.Reply) bool {
		return r.GetDone() != nil || r.GetUndone() != nil
	})
	require.Equal(t, 12, b.provider.count("authorize"))
	require.Equal(t, 1, b.provider.count("capture"))
	require.Equal(t, 1, b.provider.count("void"))
	require.Equal(t, 10, b.provider.held())
	requireBooksAgree(t, b.Pool)
}

func requireAll(t *testing.T, replies []*sagav1.Reply, count int, what string, is func(*sagav1.Reply) bool) {
	t.Helper()
	require.Len(t, replies, count)
	other := slices.IndexFunc(replies, func(r *sagav1.Reply) bool { return !is(r) })
	require.Equal(t, -1, other, "all are %s: %v", what, replies)
}

// The undo is remembered and carried out once the provider has told; in the end nothing is held.
func TestVoid_WhileAuthorizeIsInDoubt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		token   string
		strikes fault
		nothing bool
		voids   int
	}{
		{"it was authorized", "tok_visa", dropAfter, false, 1},
		{"it never arrived", "tok_visa", dropBefore, false, 1},
		{"it was declined", "tok_declined", dropAfter, true, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.provider.next(payment.CallConfirm, test.strikes)
			meta := workertest.Meta(authorizeStep)
			require.NotNil(t, b.Do(t, authorize(meta, test.token)).GetInDoubt())
			require.NotNil(t, b.Undo(t, void(meta)).GetInDoubt())
			b.Resolve(t)
			undone := b.Undo(t, workertest.Again(t, void(meta))).GetUndone()
			require.NotNil(t, undone)
			require.Equal(t, test.nothing, undone.GetNothing())
			require.NotNil(t, b.Do(t, workertest.Again(t, authorize(meta, test.token))), "and stays so")
			require.Zero(t, b.provider.held())
			require.LessOrEqual(t, b.provider.count("authorize"), 1)
			require.Equal(t, test.voids, b.provider.count("void"))
			requireBooksAgree(t, b.Pool)
		})
	}
}

// Dying after what shall be asked is written down and before it is asked: the attempts say "may have been sent", and
// the next process looks before it sends.
func TestAuthorize_CrashBeforeTheCall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	meta := workertest.Meta(authorizeStep)
	require.True(t, b.Crash(t, crash.WorkerAfterCommit, authorize(meta, "tok_visa")))
	require.Equal(t, []string{"authorize sent"}, operationsOf(t, b.Pool, meta))
	require.Equal(t, []string{"1 create open", "2 confirm open"}, attemptsOf(t, b.Pool, meta))
	require.Zero(t, b.provider.held())

	require.NotNil(t, b.Resolve(t)[0].GetDone())
	require.Equal(t, 1, b.provider.count("authorize"))
	require.Equal(t, []string{
		"1 create open", "2 confirm open",
		"3 list response 200", "4 create response 200", "5 confirm response 200",
	}, attemptsOf(t, b.Pool, meta))
}

// Dying with the answer in hand and not written down.
func TestCapture_CrashAfterTheCall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	meta := workertest.Meta(authorizeStep)
	require.NotNil(t, b.Do(t, authorize(meta, "tok_visa")).GetDone())
	require.True(t, b.Crash(t, crash.WorkerBeforeSettleCommit, capture(meta)))
	require.Equal(t, []string{"authorize succeeded", "capture sent"}, operationsOf(t, b.Pool, meta))
	require.Equal(t, 1, b.provider.count("capture"))
	require.NotNil(t, b.Resolve(t)[0].GetDone())
	require.Equal(t, 1, b.provider.count("capture"))
	requireBooksAgree(t, b.Pool)
}

// A batch is written with as many statements as one command: before the calls, after them, and for every kind.
func TestStatements_DoNotGrowWithTheBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	orders := func(count int) []*sagav1.CommandMeta {
		metas := make([]*sagav1.CommandMeta, count)
		commands := make([]worker.Input, count)
		for i := range metas {
			metas[i] = workertest.Meta(authorizeStep)
			commands[i] = authorize(metas[i], "tok_visa")
		}
		b.Send(t, commands...)
		return metas
	}
	tests := []struct {
		name     string
		commands func(count int) []worker.Input
	}{
		{"authorize", func(count int) []worker.Input {
			var commands []worker.Input
			for range count {
				commands = append(commands, authorize(workertest.Meta(authorizeStep), "tok_visa"))
			}
			return commands
		}},
		{"capture", func(count int) []worker.Input {
			var commands []worker.Input
			for _, meta := range orders(count) {
				commands = append(commands, capture(meta))
			}
			return commands
		}},
		{"void", func(count int) []worker.Input {
			var commands []worker.Input
			for _, meta := range orders(count) {
				commands = append(commands, void(meta))
			}
			return commands
		}},
	}
	for _, test := range tests {
		prepare, settle := b.statements(t, test.commands(1))
		for _, count := range []int{10, 200} {
			again, settleAgain := b.statements(t, test.commands(count))
			require.Equal(t, prepare, again, "%s of %d, before the calls", test.name, count)
			require.Equal(t, settle, settleAgain, "%s of %d, after the calls", test.name, count)
		}
	}
	requireBooksAgree(t, b.Pool)
}

// statements processes commands as one poll and returns the statements of its transaction, and those of settling the
// calls. How many calls come back together is chance, so every settling must take the same ones.
func (b bundle) statements(t *testing.T, commands []worker.Input) (prepare, settle []string) {
	t.Helper()
	var counter pg.Counter
	_, err := b.Worker.Process(pg.WithCounter(t.Context(), &counter), b.Records(t, commands...))
	require.NoError(t, err)
	prepare = counter.SQL()
	for settled := 0; settled < len(commands); {
		counter.Reset()
		replies, err := b.Worker.Settle(pg.WithCounter(t.Context(), &counter))
		require.NoError(t, err)
		if settle == nil {
			settle = counter.SQL()
		}
		require.Equal(t, settle, counter.SQL(), "settling %d calls", len(replies))
		settled += len(replies)
	}
	return prepare, settle
}
