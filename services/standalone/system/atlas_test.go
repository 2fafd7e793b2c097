package system_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/standalone/stack"
)

const (
	do   = sagav1.Operation_OPERATION_DO
	undo = sagav1.Operation_OPERATION_UNDO
)

// scene plays one row of the failure atlas on the real system: it shapes the
// order, sets the network's rule for it, and acts. What must follow is the row's.
type scene struct {
	shape func(*coordinatorapi.NewOrder)
	// rule makes the network's rule; nil passes everything.
	rule func(a *atlas) rule
	// act does what has to be done while the order is on its way.
	act func(a *atlas, id string)
	// alone keeps other orders away: the scene sets a fault for whoever comes.
	alone bool
}

// atlas is the test's hands.
type atlas struct {
	*platform
	net *network
}

func TestAtlas_EveryRowOverTheWholeSystem(t *testing.T) {
	t.Parallel()
	a := &atlas{}
	a.platform = start(t, func(o *stack.Options) {
		near := o.TopicPrefix + "n"
		o.MemberEnv[stack.Coordinator] = []string{"KAFKA_TOPIC_PREFIX=" + near}
		o.MemberEnv[stack.Notification] = []string{"GIVE_UP_AFTER=2s"}
	})
	far := a.Kafka().TopicPrefix
	a.net = newNetwork(t, a.Kafka(), far+"n", far, false)
	a.sell("SKU-MUG", 1000)
	a.sell("SKU-GONE", 0)
	a.sell("SKU-LAST", 1)

	def, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(t, err)
	rows := saga.Atlas(def)
	t.Run("rows", func(t *testing.T) {
		for _, alone := range []bool{false, true} {
			t.Run(map[bool]string{false: "together", true: "alone"}[alone], func(t *testing.T) {
				for _, row := range rows {
					name := row.Step + "/" + string(row.Ending)
					s, ok := scenes[name]
					require.True(t, ok, "the failure atlas has a row %s and no scene plays it", name)
					if s.alone != alone {
						continue
					}
					t.Run(name, func(t *testing.T) {
						if !alone {
							t.Parallel()
						}
						own := *a
						platform := *a.platform
						platform.t = t
						own.platform = &platform
						own.play(row, s)
					})
				}
			})
		}
	})
	a.addsUp(len(rows) + extraOrders)
}

// extraOrders are placed by scenes beside their own.
const extraOrders = 1

func (a *atlas) play(row saga.AtlasRow, s scene) {
	id := a.submit(mug(s.shape))
	r := rule(func(*packet) fate { return pass })
	if s.rule != nil {
		r = s.rule(a)
	}
	a.net.obey(id, r)
	if s.act != nil {
		s.act(a, id)
	}
	o := a.until(id, "to end", ended)

	want := map[saga.State]coordinatorapi.OrderStatus{
		saga.Completed: coordinatorapi.OrderStatusCompleted, saga.Compensated: coordinatorapi.OrderStatusCancelled,
	}[row.End]
	require.Equal(a.t, want, o.Status, "%s", o.Explanation.Summary)
	for _, e := range o.Effects {
		if e.Step == row.Step && e.Step == "send_confirmation" && row.Ending == saga.EndSilent {
			require.Equal(a.t, "unknown", string(e.State), "nobody knows whether the mail went out, and nobody claims it")
			continue
		}
		require.NotContains(a.t, []string{"intended", "unknown"}, string(e.State), "%+v", e)
		if row.End == saga.Compensated {
			require.Equal(a.t, "released", string(e.State), "%+v", e)
		}
	}
	undone, told := a.history(id)
	require.Equal(a.t, row.Undone, undone, "steps undone, in order")
	for _, text := range row.Operator {
		if kind, step, raised := strings.Cut(text, " at "); raised {
			require.Contains(a.t, told, kind+" "+step)
		} else if strings.Contains(text, "in doubt") {
			require.Contains(a.t, told, "in_doubt "+row.Step)
		} else {
			require.Contains(a.t, told, "fenced "+row.Step)
		}
	}
}

// history reads which steps were undone, in order, and what an operator could see.
func (a *atlas) history(id string) (undone, told []string) {
	var page coordinatorapi.HistoryPage
	a.must(http.MethodGet, a.system.Coordinator+"/v1/sagas/"+id+"/history?limit=200", "", nil, &page)
	for _, entry := range page.Entries {
		for _, ev := range entry.Events {
			step := ""
			if ev.Step != nil {
				step = *ev.Step
			}
			switch ev.Event {
			case "reply_in_doubt", "undo_in_doubt":
				told = append(told, "in_doubt "+step)
			case "reply_fenced":
				told = append(told, "fenced "+step)
			case "undo_refused":
				told = append(told, "undo_refused "+step)
			}
			for _, d := range ev.Decisions {
				f := strings.Fields(d)
				if len(f) == 4 && f[0] == "send" && f[2] == "undo" && f[3] == "#1" {
					undone = append(undone, f[1])
				}
				if strings.Contains(d, "attention_raised") {
					switch ev.Event {
					case "reply_refused":
						told = append(told, "forward_refused "+step)
					case "timer_fired":
						told = append(told, "no_answer "+step)
					}
				}
			}
		}
	}
	return slices.CompactFunc(undone, func(x, y string) bool { return x == y }), told
}

// attention waits until an operator would be told about the order.
func (a *atlas) attention(id string) {
	a.until(id, "to raise attention", func(o coordinatorapi.Order) bool { return o.Attention != nil })
}

// inFlight waits until the network holds something of the order.
func (a *atlas) inFlight(id string) {
	require.EventuallyWithT(a.t, func(c *collect) { require.NotZero(c, a.net.holds(id)) }, 30*time.Second, 10*time.Millisecond)
}

// cancelInFlight cancels while the network holds the step, then lets go.
func cancelInFlight(want string) func(*atlas, string) {
	return func(a *atlas, id string) {
		a.inFlight(id)
		require.Equal(a.t, want, a.cancel(id))
		a.net.release(id)
	}
}

// cancelThen cancels while the network holds the step and lets go when the order is cancelled:
// what is released then comes after the undo.
func cancelThenLate(a *atlas, id string) {
	a.inFlight(id)
	require.Equal(a.t, "agreed", a.cancel(id))
	a.until(id, "to end", ended)
	a.net.release(id)
	require.EventuallyWithT(a.t, func(c *collect) {
		_, told := a.history(id)
		require.Contains(c, strings.Join(told, ","), "fenced")
	}, 30*time.Second, 50*time.Millisecond)
}

// lateAtDeadline lets go when the deadline has passed.
func lateAtDeadline(a *atlas, id string) {
	a.inFlight(id)
	a.until(id, "to pass its deadline", func(o coordinatorapi.Order) bool {
		return o.Deadline == nil
	})
	a.net.release(id)
}

func token(t string) func(*coordinatorapi.NewOrder) {
	return func(o *coordinatorapi.NewOrder) { o.PaymentToken = t }
}

func zip(z string) func(*coordinatorapi.NewOrder) {
	return func(o *coordinatorapi.NewOrder) { o.ShipTo.PostalCode = &z }
}

func mail(m string) func(*coordinatorapi.NewOrder) {
	return func(o *coordinatorapi.NewOrder) { o.ShipTo.Email = &m }
}

func net(r rule) func(*atlas) rule { return func(*atlas) rule { return r } }

// silent loses every reply to the step, so that its effect is there and nobody knows.
func silent(step string) func(*atlas) rule { return net(of(step, do, true, drop)) }

// heldDo and heldReply keep the step in flight, before and after its effect.
func heldDo(step string) func(*atlas) rule    { return net(of(step, do, false, hold)) }
func heldReply(step string) func(*atlas) rule { return net(of(step, do, true, hold)) }

// undoRefusedOnce refuses the first undo in the participant's name.
func undoRefusedOnce(step string) func(*atlas) rule {
	return func(a *atlas) rule {
		refused := false
		return func(p *packet) fate {
			if p.step != step || !p.isUndo() || p.reply != nil || refused {
				return pass
			}
			refused = true
			a.net.forge(p, &sagav1.Reply{Outcome: &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: "too_late_for_this"}}})
			return drop
		}
	}
}

// silentUntilTold loses the undo, or the do, until an operator is told.
func silentUntilTold(a *atlas, id string) {
	a.attention(id)
	a.net.release(id)
}

func ptr[T any](v T) *T { return &v }
