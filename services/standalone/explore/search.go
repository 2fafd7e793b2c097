package explore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
	"recourse.dev/services/standalone/invariant"
)

// Code is the decision code that is explored. Production's is Production; a
// test puts a defect in to see it found.
type Code struct {
	Decide  func(*saga.Definition, saga.Saga, saga.Event, time.Time) saga.Decision
	Verdict func(*worker.Row, worker.Operation) worker.Verdict
	Next    func(worker.Row, worker.Phase, worker.OutcomeKind) (worker.Row, error)
}

// Production is the code that the coordinator and the participants run.
func Production() Code {
	return Code{Decide: saga.Decide, Verdict: worker.Decide, Next: worker.Row.Next}
}

// Bounds say how much of what could happen for ever happens in one history.
type Bounds struct {
	// Repeats are messages that arrive once more, Crashes deaths of any process,
	// UndoRefusals undos that are refused, Retries commands that are put off.
	Repeats, Crashes, UndoRefusals, Retries uint8
}

// DefaultBounds are those of `recourse explore`.
var DefaultBounds = Bounds{Repeats: 2, Crashes: 1, UndoRefusals: 1, Retries: 1}

var sagaID = uuid.MustParse("00000000-0000-7000-8000-000000000001")

// explorer visits every state of one definition.
type explorer struct {
	name   string
	text   string
	def    *saga.Definition
	keys   [maxSteps]int
	code   Code
	bounds Bounds
	most   int

	ids   map[key]uint32
	links []link
	// calm has, for each state, the states that calm moves lead to; from is where they begin.
	calm []uint32
	from []uint32
	ends []bool
	// cut says that states were left out.
	cut  bool
	rows rows
	out  Result

	before   saga.Saga
	after    *saga.Saga
	decision saga.Decision
	decided  move
	last     saga.Saga
	buf      []byte
}

// link is the move by which a state was reached first.
type link struct {
	parent uint32
	move   move
}

// explore runs the search breadth first, so that the way to the first violation is a shortest one.
func (x *explorer) explore(ctx context.Context) {
	defer func(begin time.Time) { x.out.Seconds = time.Since(begin).Seconds() }(time.Now())
	s := x.first()
	frontier := []state{s}
	x.ids[x.key(&s)] = 0
	x.links = append(x.links, link{})
	x.ends = append(x.ends, false)
	var ahead []state
	var list []move
	for id := uint32(0); len(frontier) > 0; x.out.Depth++ {
		ahead = ahead[:0]
		for i := range frontier {
			if id%1024 == 0 && ctx.Err() != nil {
				return
			}
			list = x.moves(&frontier[i], list[:0])
			if !x.expand(id, &frontier[i], list, &ahead) {
				return
			}
			id++
		}
		frontier, ahead = ahead, frontier
	}
	x.out.Complete = !x.cut
	x.liveness()
}

// expand tries every move that is possible in a state. It reports false when one of them breaks a promise.
func (x *explorer) expand(id uint32, s *state, list []move, ahead *[]state) bool {
	x.from = append(x.from, uint32(len(x.calm)))
	x.unpack(s, &x.before)
	x.decided = move{}
	var to state
	for _, m := range list {
		to = *s
		err := x.play(&to, &x.before, m)
		x.out.Transitions++
		k := x.key(&to)
		known, seen := x.ids[k]
		if err == nil && !seen {
			err = invariant.Always(x.def, x.after, &to)
		}
		if err != nil {
			x.violate(id, &m, err)
			return false
		}
		if !seen {
			if x.most > 0 && len(x.links) >= x.most {
				x.cut = true
				x.ends[id] = true // what lies beyond is not known, so nothing is said against it
				continue
			}
			known = uint32(len(x.links))
			x.ids[k] = known
			x.links = append(x.links, link{parent: id, move: m})
			x.ends = append(x.ends, x.after.State.Ended() && invariant.Ended(x.def, x.after, to.doubtful) == nil)
			x.count(x.after)
			*ahead = append(*ahead, to)
		}
		if m.calm && known != id {
			x.calm = append(x.calm, known)
		}
	}
	return true
}

func (x *explorer) count(s *saga.Saga) {
	switch s.State {
	case saga.Completed:
		x.out.Completed++
	case saga.Compensated:
		x.out.Compensated++
	default:
	}
}

// liveness walks backward from the ends. A state's moves lead mostly to states with higher numbers, so a few sweeps
// from the last state to the first reach everything.
func (x *explorer) liveness() {
	x.from = append(x.from, uint32(len(x.calm)))
	for again := true; again; {
		again = false
		for id := len(x.ends) - 1; id >= 0; id-- {
			if x.ends[id] {
				continue
			}
			for _, to := range x.calm[x.from[id]:x.from[id+1]] {
				if x.ends[to] {
					x.ends[id], again = true, true
					break
				}
			}
		}
	}
	for id, ends := range x.ends {
		if !ends {
			x.violate(uint32(id), nil, fmt.Errorf("no way from here to the end of the saga without a fault or a wish"))
			return
		}
	}
}

// violate keeps the way to a violation: to a state, and perhaps one move further.
func (x *explorer) violate(id uint32, last *move, err error) {
	var way []move
	if last != nil {
		way = append(way, *last)
	}
	for ; id != 0; id = x.links[id].parent {
		way = append(way, x.links[id].move)
	}
	for i, j := 0, len(way)-1; i < j; i, j = i+1, j-1 {
		way[i], way[j] = way[j], way[i]
	}
	x.out.Violation = x.tell(way, err)
}

// rows remembers which rows of the two tables were taken.
type rows [2][int(saga.EffectReturned) + 1][int(saga.Settled) + 1][int(saga.Settled) + 1]bool

func (r *rows) take(tr *saga.Transition) {
	who := 0
	if tr.Step < 0 {
		who = 1
	}
	r[who][tr.Event][tr.From][tr.To] = true
}

func (r *rows) add(other *rows) {
	for w := range r {
		for e := range r[w] {
			for f := range r[w][e] {
				for t := range r[w][e][f] {
					r[w][e][f][t] = r[w][e][f][t] || other[w][e][f][t]
				}
			}
		}
	}
}

func (r *rows) count() int {
	n := 0
	for w := range r {
		for e := range r[w] {
			for f := range r[w][e] {
				for t := range r[w][e][f] {
					if r[w][e][f][t] {
						n++
					}
				}
			}
		}
	}
	return n
}
