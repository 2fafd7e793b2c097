package coordinator_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
)

// The looks of these tests, a quarter of a second apart.
const look = 250 * time.Millisecond

func TestDrain_verdicts(t *testing.T) {
	t.Parallel()
	const (
		within  = 4 * time.Second
		backlog = 10_000
	)
	// Each queue is passed once. Looks are what waits and what was read since the look before.
	type looks []struct{ waiting, read int64 }
	steady := func(n int, waiting, read int64) (l looks) {
		for range n {
			l = append(l, struct{ waiting, read int64 }{waiting, read})
		}
		return l
	}
	then := func(parts ...looks) (l looks) {
		for _, p := range parts {
			l = append(l, p...)
		}
		return l
	}
	for _, tt := range []struct {
		name  string
		looks looks
		wait  time.Duration
		// admit is at least and at most.
		admit [2]int
		state string
		full  bool
	}{
		{"nothing is known", steady(1, 0, 0), 0, [2]int{400, 400}, "moving", false},
		{"nothing waits", steady(40, 0, 25), 0, [2]int{400, 400}, "moving", false},
		{"a wave meets a queue that was idle", then(steady(40, 0, 2), steady(1, 200, 0)), 2 * time.Second, [2]int{200, 200}, "moving", false},
		{"a hiccup with few records", then(steady(8, 15, 0), steady(1, 15, 2)), 0, [2]int{400, 400}, "moving", false},
		{
			"a hiccup with more of them", then(steady(40, 0, 2), steady(5, 40, 0), steady(1, 40, 2)), 400 * time.Millisecond,
			[2]int{360, 360},
			"moving", false,
		},
		{"slow", then(steady(40, 100, 2)), 12500 * time.Millisecond, [2]int{0, 0}, "moving", false},
		{"half full", steady(40, 200, 25), 2 * time.Second, [2]int{200, 200}, "moving", false},
		{"full", steady(40, 400, 25), 4 * time.Second, [2]int{0, 0}, "moving", false},
		{"over full", steady(40, 1000, 25), 10 * time.Second, [2]int{0, 0}, "moving", false},
		{
			"worked off in large batches",
			then(
				steady(1, 400, 0), steady(7, 400, 0), steady(1, 400, 200), steady(7, 400, 0), steady(1, 400, 200),
				steady(7, 400, 0), steady(1, 400, 200), steady(4, 400, 0),
			),
			4 * time.Second,
			[2]int{0, 0},
			"moving", false,
		},
		{"stops", then(steady(40, 100, 25), steady(4, 200, 0)), 2 * time.Second, [2]int{200, 200}, "moving", false},
		{"has stopped", then(steady(40, 100, 25), steady(9, 900, 0)), 0, [2]int{400, 400}, "stalled", false},
		{"down from the start", steady(9, 900, 0), 0, [2]int{400, 400}, "stalled", false},
		{"crawls", then(steady(40, 100, 100), steady(40, 900, 1)), 0, [2]int{400, 1600}, "stalled", false},
		{"is back", then(steady(40, 100, 25), steady(40, 5000, 0), steady(9, 4000, 25)), 0, [2]int{13, 13}, "catching_up", false},
		{
			"has caught up",
			then(steady(40, 100, 25), steady(40, 5000, 0), steady(9, 4000, 25), steady(2, 150, 25)),
			1500 * time.Millisecond,
			[2]int{250, 250},
			"moving", false,
		},
		{"backlog", steady(40, 10_000, 0), 0, [2]int{0, 0}, "stalled", true},
		{"the log was wiped", then(steady(40, 100, 25), steady(1, 50, -1000)), 500 * time.Millisecond, [2]int{350, 350}, "moving", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := coordinator.NewDrain(within, backlog, map[string]int{"inventory": 1})
			now, read := time.Now(), int64(10_000)
			var v coordinator.Verdict
			for _, l := range tt.looks {
				now, read = now.Add(look), read+l.read
				v = d.Look(now, look, map[string][2]int64{"inventory": {l.waiting, read}})
			}
			if tt.wait > 0 {
				require.InEpsilon(t, tt.wait.Seconds(), v.Wait.Seconds(), 0.1)
			} else {
				require.Zero(t, v.Wait)
			}
			require.GreaterOrEqual(t, v.Admit, tt.admit[0]*9/10)
			require.LessOrEqual(t, v.Admit, tt.admit[1]*11/10)
			require.Equal(t, tt.state, d.State("inventory"))
			require.Equal(t, tt.full, v.Full)
			require.GreaterOrEqual(t, v.RetryAfter, time.Second)
			require.LessOrEqual(t, v.RetryAfter, time.Minute)
		})
	}
}

// A reader that dies again and again, and comes back for a moment each time, takes a record now and then while the rest
// waits. That says nothing about how fast it works, and no long standstill is a batch: the door does not close.
func TestDrain_a_reader_that_keeps_dying_does_not_close_the_shop(t *testing.T) {
	t.Parallel()
	for _, calm := range []int64{1, 3, 25} {
		t.Run(fmt.Sprint(calm, " a look"), func(t *testing.T) {
			t.Parallel()
			d := coordinator.NewDrain(3*time.Second, 10_000, map[string]int{"coordinator": 5})
			now, read, closed := time.Now(), int64(10_000), 0
			play := func(looks int, waiting, took int64) {
				for range looks {
					now, read = now.Add(look), read+took
					v := d.Look(now, look, map[string][2]int64{"coordinator": {waiting, read}})
					require.LessOrEqual(t, v.RetryAfter, 15*time.Second)
					if v.Admit == 0 {
						closed++
					}
				}
			}
			play(40, 0, calm)
			for _, dead := range []int{7, 7, 7, 20, 60, 140, 7, 7} {
				play(dead, 25, 0)
				play(1, 25, 1)
			}
			play(40, 25, 0)
			require.Zero(t, closed)
			play(20, 5, calm)
			require.Equal(t, "moving", d.State("coordinator"))
		})
	}
}

// An order passes a queue more than once, waits in several, and does not wait for what it can do without.
func TestDrain_adds_up_the_queues_of_an_order(t *testing.T) {
	t.Parallel()
	d := coordinator.NewDrain(20*time.Second, 10_000, map[string]int{"inventory": 2, "shipping": 1, "notification": 0})
	now := time.Now()
	var v coordinator.Verdict
	for i := range int64(40) {
		now = now.Add(look)
		v = d.Look(now, look, map[string][2]int64{
			"inventory": {200, 50 * i}, "shipping": {300, 25 * i}, "notification": {5000, 25 * i},
		})
	}
	require.InEpsilon(t, 5.0, v.Wait.Seconds(), 0.1)
	require.Equal(t, "shipping", v.At)
	require.InEpsilon(t, 1500, v.Admit, 0.1)
	require.InEpsilon(t, 1.0, v.RetryAfter.Seconds(), 0.1)
}

// A shop with workers of which one is slower than the orders come: whatever the order of the workers, and however
// large the wave, nearly all of what can be done is done, no order waits for much longer than it may, and when the wave
// is over the shop is back to normal. The workers take from their queues in batches, and an order that was admitted
// comes to the first queue a while later.
func TestDrain_a_wave_neither_starves_nor_drowns_the_shop(t *testing.T) {
	t.Parallel()
	for _, rates := range [][]int{{250, 400, 300, 600}, {600, 300, 250}, {100, 100, 100}, {2000, 1500}, {30, 60}} {
		for _, factor := range []float64{1.5, 5, 20} {
			t.Run(fmt.Sprint(rates, factor), func(t *testing.T) {
				t.Parallel()
				r := wave(rates, factor)
				require.GreaterOrEqual(t, r.goodput, 0.95)
				// Until it has been seen at work, the shop is taken for one that can do 100 orders a second.
				unknown := 300 / time.Duration(slices.Min(rates)) * time.Second
				require.LessOrEqual(t, r.longest, max(unknown, 3*time.Second)+3*time.Second)
				require.LessOrEqual(t, r.recovery, 5*time.Second)
				require.Zero(t, r.refusedBefore+r.refusedAfter, "whoever comes at half of the rate is not refused")
			})
		}
	}
}

type waveResult struct {
	goodput                     float64
	longest, recovery           time.Duration
	refusedBefore, refusedAfter int
}

// wave plays 20 s at half of what the slowest worker can do, 120 s at a multiple of it, and 30 s at half again, in steps
// of 10 ms.
func wave(rates []int, factor float64) (r waveResult) {
	const (
		step            = 10 * time.Millisecond
		calm, wild, end = 2000, 14_000, 17_000
		onTheWay        = 8 // steps from the admission to the first queue
	)
	names, visits := make([]string, len(rates)), map[string]int{}
	slowest := rates[0]
	for i, rate := range rates {
		names[i] = fmt.Sprint("worker", i)
		visits[names[i]] = 1
		slowest = min(slowest, rate)
	}
	d := coordinator.NewDrain(3*time.Second, 250_000, visits)
	var (
		now    = time.Now()
		queues = make([][]int, len(rates)) // when each order came in
		read   = make([]int64, len(rates))
		owed   = make([]float64, len(rates))
		moving [onTheWay][]int
		tokens = 300
		come   float64
		ended  int
	)
	for at := range end {
		now = now.Add(step)
		offered := float64(slowest) / 2
		if at >= calm && at < wild {
			offered = float64(slowest) * factor
		}
		come += offered * step.Seconds()
		queues[0] = append(queues[0], moving[at%onTheWay]...)
		moving[at%onTheWay] = nil
		for ; come >= 1; come-- {
			if tokens > 0 {
				tokens--
				moving[at%onTheWay] = append(moving[at%onTheWay], at)
				continue
			}
			switch {
			case at < calm:
				r.refusedBefore++
			case at >= wild+500:
				r.refusedAfter++
			}
		}
		for i := range queues {
			owed[i] = min(owed[i]+float64(rates[i])*step.Seconds(), 20+float64(rates[i])/20)
			batch := min(int(owed[i]), len(queues[i]), 200)
			// A worker takes what there is, but not one by one when there is more.
			if batch == 0 || batch < min(len(queues[i]), 10) {
				continue
			}
			done := queues[i][:batch]
			queues[i], owed[i], read[i] = queues[i][batch:], owed[i]-float64(batch), read[i]+int64(batch)
			if i+1 < len(queues) {
				queues[i+1] = append(queues[i+1], done...)
				continue
			}
			for _, since := range done {
				took := time.Duration(at-since) * step
				r.longest = max(r.longest, took)
				if since >= wild && took > time.Second {
					r.recovery = max(r.recovery, time.Duration(since-wild)*step)
				}
				if at >= calm+500 && at < wild {
					ended++
				}
			}
		}
		if at%25 == 0 {
			seen := map[string][2]int64{}
			for i, name := range names {
				seen[name] = [2]int64{int64(len(queues[i])), read[i]}
			}
			pending := 0
			for _, m := range moving {
				pending += len(m)
			}
			tokens = d.Look(now, look, seen).Admit - pending
		}
	}
	r.goodput = float64(ended) / (float64(wild-calm-500) * step.Seconds() * float64(slowest))
	return r
}
