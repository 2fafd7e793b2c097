package workertest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/worker"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Contract is one step of a participant, as Conformance tests it.
type Contract struct {
	// Kit makes a participant with a database and an outside world of its own.
	Kit func(t *testing.T) *Kit
	// Do makes a do that works, with whatever must be there before it. Every meta is a new saga and order.
	Do func(t *testing.T, kit *Kit, meta *sagav1.CommandMeta) worker.Input
	// Refused makes a do that is refused. Nil: the step never refuses.
	Refused func(t *testing.T, kit *Kit, meta *sagav1.CommandMeta) worker.Input
	// Undo makes the undo of a do, of which only the meta is known. Nil: the step has no undo.
	Undo func(t *testing.T, kit *Kit, meta *sagav1.CommandMeta) worker.Input
	// Effects counts what the step has brought about and not taken back, as the domain's own tables and the outside
	// world's own ledger tell it, for all orders.
	Effects func(t *testing.T, kit *Kit) int
	// Step is the step's name; default "step".
	Step string
}

// Conformance holds one step of a participant to the protocol of package worker: the table of states, and that dying
// on any line neither loses nor doubles an effect.
func Conformance(t *testing.T, c Contract) {
	t.Helper()
	if c.Step == "" {
		c.Step = "step"
	}
	t.Run("duplicate", c.duplicate)
	t.Run("batch", c.batch)
	t.Run("statements do not grow with the batch", c.statements)
	t.Run("do dies on any line", c.doDies)
	if c.Refused != nil {
		t.Run("refusal is replayed", c.refusal)
	}
	if c.Undo == nil {
		return
	}
	t.Run("undo", c.undo)
	t.Run("undo before do is a fence", c.fence)
	t.Run("every order of do, do, undo, undo", c.orders)
	t.Run("undo dies on any line", c.undoDies)
}

// order is one new saga: its do, and its undo if the step has one.
func (c Contract) order(t *testing.T, kit *Kit) (do, undo worker.Input) {
	t.Helper()
	meta := Meta(c.Step)
	do = c.Do(t, kit, meta)
	if c.Undo != nil {
		undo = c.Undo(t, kit, UndoMeta(meta))
	}
	return do, undo
}

func (c Contract) duplicate(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	do, _ := c.order(t, kit)
	before := c.Effects(t, kit)
	first := kit.Do(t, do)
	second := kit.Do(t, Again(t, do))
	require.NotNil(t, first.GetDone(), "the do is done: %v", first)
	requireRepeat(t, first, second)
	require.Equal(t, before+1, c.Effects(t, kit), "effects after a do and its duplicate")
	require.EqualValues(t, 1, first.GetEffectSeq())
}

func (c Contract) batch(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	const orders = 10
	var commands []worker.Input
	for range orders {
		do, _ := c.order(t, kit)
		commands = append(commands, do, Again(t, do))
	}
	before := c.Effects(t, kit)
	kit.Send(t, commands...)
	for _, do := range commands {
		require.NotNil(t, kit.Do(t, do).GetDone())
	}
	require.Equal(t, before+orders, c.Effects(t, kit), "effects of dos that came twice in one poll")
}

func (c Contract) statements(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	// The first poll also pays for what is done once, such as preparing a cache.
	c.count(t, kit, 1)
	oneDo, oneUndo := c.count(t, kit, 1)
	for _, size := range []int{10, 200} {
		dos, undos := c.count(t, kit, size)
		require.Equal(t, oneDo, dos, "statements of a poll of 1 do and of %d", size)
		require.Equal(t, oneUndo, undos, "statements of a poll of 1 undo and of %d", size)
	}
}

func (c Contract) count(t *testing.T, kit *Kit, size int) (ofDos, ofUndos []string) {
	t.Helper()
	var dos, undos []worker.Input
	for range size {
		do, undo := c.order(t, kit)
		dos = append(dos, do)
		if undo != nil {
			undos = append(undos, undo)
		}
	}
	ofDos = kit.Count(t, dos...)
	if len(undos) > 0 {
		ofUndos = kit.Count(t, undos...)
	}
	return ofDos, ofUndos
}

func (c Contract) doDies(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	for _, point := range workerPoints() {
		do, _ := c.order(t, kit)
		before := c.Effects(t, kit)
		requireDeath(t, point, kit.Crash(t, point, do))
		reply := kit.settled(t, Again(t, do))
		require.NotNil(t, reply.GetDone(), "the do is done after all: %v", reply)
		require.Equal(t, before+1, c.Effects(t, kit), "effects after a death at %s", point)
	}
}

func (c Contract) refusal(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	meta := Meta(c.Step)
	do := c.Refused(t, kit, meta)
	before := c.Effects(t, kit)
	first := kit.Do(t, do)
	require.NotNil(t, first.GetRefused(), "the do is refused: %v", first)
	require.NotEmpty(t, first.GetRefused().GetCode())
	requireRepeat(t, first, kit.Do(t, Again(t, do)))
	if c.Undo != nil {
		reply := kit.Undo(t, c.Undo(t, kit, UndoMeta(meta)))
		require.True(t, reply.GetUndone().GetNothing(), "what was refused needs no undo: %v", reply)
		requireRepeat(t, first, kit.Do(t, Again(t, do)))
	}
	require.Equal(t, before, c.Effects(t, kit), "effects of a refusal")
}

func (c Contract) undo(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	do, undo := c.order(t, kit)
	before := c.Effects(t, kit)
	require.NotNil(t, kit.Do(t, do).GetDone())
	first := kit.Undo(t, undo)
	require.NotNil(t, first.GetUndone(), "the undo works: %v", first)
	require.False(t, first.GetUndone().GetNothing(), "there was something to take back")
	require.EqualValues(t, 2, first.GetEffectSeq())
	requireRepeat(t, first, kit.Undo(t, Again(t, undo)))
	require.NotNil(t, kit.Do(t, Again(t, do)).GetFenced(), "no do after an undo")
	require.Equal(t, before, c.Effects(t, kit), "effects after the undo")
}

func (c Contract) fence(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	do, undo := c.order(t, kit)
	before := c.Effects(t, kit)
	first := kit.Undo(t, undo)
	require.True(t, first.GetUndone().GetNothing(), "there is nothing to take back yet: %v", first)
	require.EqualValues(t, 1, first.GetEffectSeq())
	require.NotNil(t, kit.Do(t, do).GetFenced(), "the late do is fenced")
	requireRepeat(t, first, kit.Undo(t, Again(t, undo)))
	require.Equal(t, worker.StateVoid, kit.State(t, do))
	require.Equal(t, before, c.Effects(t, kit), "effects of a late do")
}

// orders sends each effect's commands in each possible order, once a poll each and once in one poll.
func (c Contract) orders(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	before := c.Effects(t, kit)
	for _, together := range []bool{false, true} {
		for _, permutation := range permutations(4) {
			do, undo := c.order(t, kit)
			all := []worker.Input{do, Again(t, do), undo, Again(t, undo)}
			var sent []worker.Input
			for _, i := range permutation {
				sent = append(sent, all[i])
			}
			if together {
				kit.Send(t, sent...)
			} else {
				for _, command := range sent {
					kit.Send(t, command)
				}
			}
			require.NotNil(t, kit.Undo(t, undo).GetUndone(), "order %v, together %t", permutation, together)
			require.NotNil(t, kit.Do(t, do).GetFenced(), "order %v, together %t", permutation, together)
			require.Equal(t, before, c.Effects(t, kit), "effects after order %v, together %t", permutation, together)
		}
	}
}

func (c Contract) undoDies(t *testing.T) {
	t.Parallel()
	kit := c.Kit(t)
	for _, point := range workerPoints() {
		do, undo := c.order(t, kit)
		before := c.Effects(t, kit)
		require.NotNil(t, kit.Do(t, do).GetDone())
		requireDeath(t, point, kit.Crash(t, point, undo))
		reply := kit.settled(t, Again(t, undo))
		require.NotNil(t, reply.GetUndone(), "the undo works after all: %v", reply)
		require.NotNil(t, kit.Do(t, Again(t, do)).GetFenced())
		require.Equal(t, before, c.Effects(t, kit), "effects after an undo that died at %s", point)
	}
}

// workerPoints are the lines of a batch and of its settlement, at which a kit can stop a worker.
func workerPoints() []crash.Name {
	return []crash.Name{
		crash.WorkerAfterPoll, crash.WorkerAfterLoad, crash.WorkerAfterHandle, crash.WorkerBeforeCommit,
		crash.WorkerAfterCommit, crash.WorkerAfterProduce, crash.WorkerAfterCall, crash.WorkerBeforeSettleCommit,
		crash.WorkerAfterSettleCommit,
	}
}

// requireDeath keeps a test of deaths from passing because nobody died. A step without a call never comes to the
// lines of a settlement.
func requireDeath(t *testing.T, point crash.Name, died bool) {
	t.Helper()
	switch point {
	case crash.WorkerAfterCall, crash.WorkerBeforeSettleCommit, crash.WorkerAfterSettleCommit:
	default:
		require.True(t, died, "the worker came to %s", point)
	}
}

// settled sends a command until the answer is more than in_doubt.
func (k *Kit) settled(t *testing.T, command worker.Input) *sagav1.Reply {
	t.Helper()
	reply := k.answer(t, command)
	for range 5 {
		if reply.GetInDoubt() == nil {
			break
		}
		k.Resolve(t)
		reply = k.answer(t, Again(t, command))
	}
	return reply
}

// requireRepeat says that a duplicate was answered as the command was the first time.
func requireRepeat(t *testing.T, first, second *sagav1.Reply) {
	t.Helper()
	require.Equal(t, first.GetAttempt()+1, second.GetAttempt(), "a repeat names the attempt that it answers")
	second.Attempt = first.GetAttempt()
	require.Truef(t, proto.Equal(first, second), "a repeat says the same:\n%v\n%v", first, second)
}

// permutations lists the orders of n things.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, shorter := range permutations(n - 1) {
		for at := range n {
			longer := append([]int{}, shorter[:at]...)
			longer = append(append(longer, n-1), shorter[at:]...)
			all = append(all, longer)
		}
	}
	return all
}
