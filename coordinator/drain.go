package coordinator

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// The estimate behind admission control. It is pure: looks at the queues go in, a verdict about new orders comes out.
//
// What waits, divided by the rate at which it is worked off, is the time that a new order would wait (Little's law). All
// numbers come from the broker, which all coordinators ask alike, so nothing is counted twice, or lost by a restart.
//
// Only what moves counts. A participant that is down holds up the orders that need it and would hold them up just as
// long if the shop were closed; what is accepted for it is bounded by its backlog.

// progress says how a queue is being worked off.
type progress uint8

const (
	// moving: the queue is empty or getting worked off, and the wait in it counts.
	moving progress = iota
	// stalled: nothing, or next to nothing, is taken out of the queue. The wait cannot be known and does not count.
	stalled
	// catchingUp: what piled up while it was stalled is worked off. The wait is not the new orders' doing and does not
	// count, but fewer orders are admitted than are worked off, so that it comes to an end.
	catchingUp
)

func (p progress) String() string { return [...]string{"moving", "stalled", "catching_up"}[p] }

const (
	// rateMemory is the time constant over which a rate is averaged.
	rateMemory = 2 * time.Second
	// A queue shows what it can do while it has work: for so long, and with so many records, or for long.
	learnFor, learnFrom, learnAnyway = time.Second, 50, 5 * time.Second
	// onePoll is so few records that one poll takes them, whatever the rate.
	onePoll = 20
	// unknownRate is taken for a queue that nobody has seen at work.
	unknownRate = 100.0
	// stallAfter is how long a queue with work may stand still. One that is worked off in large batches, with long
	// pauses between, gets up to maxStallAfter.
	stallAfter, maxStallAfter = 2 * time.Second, 30 * time.Second
	// crawl is the part of its best rate below which a queue counts as standing still.
	crawl = 0.05
	// trickle is so slow that it is no way of working either: one poll takes hundreds of records, so what comes one by one
	// comes past a reader that is away, from the few partitions that somebody else has taken over.
	trickle = 1.0
	// bestHalfLife is how slowly the best rate of a queue is forgotten.
	bestHalfLife = 10 * time.Minute
	// catchUpShare is the part of a participant's rate that new orders get while it catches up.
	catchUpShare = 0.5
)

// queue is what is known about the unread records of one reader.
type queue struct {
	name string
	// visits is how often an order passes on its way to its end; 0 if it does not wait for this reader.
	visits int

	state   progress
	waiting int64
	// rate is how many records a second are taken while there are some; 0 is not known.
	rate float64
	// flow is how many are taken, whether there are more or not, and best the most of it that has been seen.
	flow, best float64

	seen      bool
	read      int64
	at        time.Time
	busySince time.Time
	busyFrom  int64 // what had been read then
	movedAt   time.Time
	// pause is the longest time between two batches lately.
	pause time.Duration
}

// observe takes a look: so many records wait, and so many have ever been read.
func (q *queue) observe(now time.Time, waiting, read int64) {
	before := *q
	q.at, q.waiting, q.read = now, waiting, read
	if !before.seen || read < before.read {
		// The first look, or a log that was wiped: there is nothing to compare with.
		q.seen, q.movedAt, q.busySince, q.busyFrom = true, now, now, read
		return
	}
	if before.waiting == 0 {
		q.busySince, q.busyFrom, q.movedAt, q.rate = before.at, before.read, before.at, 0
	}
	took := max(now.Sub(before.at), time.Millisecond)
	q.flow += (float64(read-before.read)/took.Seconds() - q.flow) * fading(took)
	if q.state == moving {
		q.best *= math.Exp2(-took.Seconds() / bestHalfLife.Seconds())
	}
	q.best = max(q.best, q.flow)
	if read > before.read {
		q.step(now, before.at, float64(read-before.read))
	}
	if waiting == 0 {
		q.state, q.pause = moving, 0
		return
	}
	q.judge(now)
}

// fading is the weight of what was seen in that time, beside all before it.
func fading(took time.Duration) float64 { return 1 - math.Exp(-took.Seconds()/rateMemory.Seconds()) }

// step notes progress since the last look.
func (q *queue) step(now, last time.Time, records float64) {
	took := max(now.Sub(q.movedAt), time.Millisecond)
	q.pause = q.pause * 7 / 10
	// Only a batch is worth waiting for. Few records after a long time are a reader that was away, and may be again:
	// who takes its standstill for its way of working is patient with it the next time, and reckons with what it "does".
	if q.state != stalled && records >= learnFrom {
		q.pause = max(q.pause, took)
	}
	q.movedAt = now
	if q.state == stalled {
		took = max(now.Sub(last), time.Millisecond)
		if records/took.Seconds() < max(trickle, crawl*q.best) {
			return
		}
		// What it can do shows from here on.
		q.state, q.busySince, q.busyFrom, q.rate = catchingUp, last, q.read-int64(records), 0
	}
	rate := records / took.Seconds()
	if q.rate == 0 {
		q.rate = rate
	} else {
		q.rate += (rate - q.rate) * fading(took)
	}
}

// judge decides about a queue that has work.
func (q *queue) judge(now time.Time) {
	patience := min(maxStallAfter, max(stallAfter, 3*q.pause))
	still := now.Sub(q.movedAt) >= patience
	crawling := now.Sub(q.busySince) >= patience && q.rate < max(trickle, crawl*q.best)
	if still || crawling {
		q.state = stalled
	}
}

// speed is the rate to reckon with. A queue that has had work for a moment only has not shown yet what it can do.
func (q *queue) speed() float64 {
	busy := q.at.Sub(q.busySince)
	if q.rate > 0 && (busy >= learnAnyway || busy >= learnFor && q.read-q.busyFrom >= learnFrom) {
		return q.rate
	}
	return max(q.rate, q.best, unknownRate)
}

// wait is how long an order waits in this queue, all of its visits together.
func (q *queue) wait() time.Duration {
	if q.waiting <= onePoll || q.visits == 0 {
		return 0
	}
	return time.Duration(float64(q.visits) * float64(q.waiting) / q.speed() * float64(time.Second))
}

// terms are what an operator sets.
type terms struct {
	// within is how long a new order may have to wait.
	within time.Duration
	// backlog is how many unread records one participant may have.
	backlog int64
}

// verdict is what the queues say about new orders.
type verdict struct {
	// wait is how long a new order would wait.
	wait time.Duration
	// admit is how many orders may come in until the next look.
	admit int
	// retryAfter is when whoever is refused should come back.
	retryAfter time.Duration
	// at names the queue that decides: the full one, or the longest.
	at string
	// full says that a queue holds as much as it may.
	full bool
}

const (
	// retryFull is how long shops are asked to stay away from a participant whose backlog is full.
	retryFull = time.Minute
	// retryMost is how long they are asked to stay away at most otherwise. The estimate is made from a few seconds and may
	// be wrong for longer ones; coming back too early costs next to nothing.
	retryMost = 15 * time.Second
)

// judgeOrders says how many orders may come in until the next look, which comes after the given time. Queues that a
// look found are changed: one that has caught up moves again.
func judgeOrders(queues []*queue, t terms, next time.Duration) verdict {
	var v verdict
	// through is how many orders a second get through what has work.
	through := math.Inf(1)
	best := unknownRate
	limit := math.Inf(1)
	longest, limited := time.Duration(0), ""
	for _, q := range queues {
		if q.waiting >= t.backlog {
			return verdict{retryAfter: retryFull, at: q.name, full: true}
		}
		if q.visits == 0 {
			continue
		}
		wait, orders := q.wait(), q.speed()/float64(q.visits)
		best = max(best, q.best/float64(q.visits))
		if q.state == catchingUp {
			if wait <= t.within/2 {
				q.state = moving
			} else {
				limit, limited = min(limit, catchUpShare*orders*next.Seconds()), q.name
			}
		}
		if q.state != moving {
			continue
		}
		v.wait += wait
		if wait > longest {
			longest, v.at = wait, q.name
		}
		if q.waiting > 0 {
			through = min(through, orders)
		}
	}
	if math.IsInf(through, 1) {
		through = best
	}
	room := (t.within - v.wait).Seconds() * through
	if limit < room {
		v.at = limited
	}
	v.admit = int(math.Ceil(max(0, min(room, limit))))
	// Down to where there is room again, with a bit to spare: waves of returning clients are what this is to prevent.
	v.retryAfter = min(retryMost, max(time.Second, v.wait-t.within/2))
	if v.at == "" {
		v.at = slices.MaxFunc(queues, func(a, b *queue) int { return cmp.Compare(a.waiting, b.waiting) }).name
	}
	return v
}
