package chaos_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	auditapi "recourse.dev/schemas/gen/api/audit"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/audit"
	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"
	"recourse.dev/services/standalone/chaos"
)

const (
	accepted   = coordinatorapi.OrderStatusAccepted
	processing = coordinatorapi.OrderStatusProcessing
	confirmed  = coordinatorapi.OrderStatusConfirmed
	completed  = coordinatorapi.OrderStatusCompleted
	cancelling = coordinatorapi.OrderStatusCancelling
	cancelled  = coordinatorapi.OrderStatusCancelled
)

var (
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	first  = uuid.MustParse("0190a1b2-0000-7000-8000-000000000001")
	second = uuid.MustParse("0190a1b2-0000-7000-8000-000000000002")
)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// books of one order that is completed and of one that is cancelled, with nothing wrong.
func books() chaos.Books {
	end := at(10)
	return chaos.Books{
		Cases: []chaos.Case{
			{ID: first.String(), Reference: "R-1", Ended: true, Seen: []chaos.Sighting{
				{accepted, 1, at(1)}, {processing, 2, at(2)}, {confirmed, 4, at(6)}, {completed, 5, at(8)},
			}},
			{ID: second.String(), Reference: "R-2", Ended: true, Never: true, Seen: []chaos.Sighting{
				{accepted, 1, at(1)}, {cancelling, 3, at(4)}, {cancelled, 5, at(9)},
			}},
		},
		Orders: []coordinatorapi.OrderSummary{
			{ID: first, Reference: "R-1", Status: completed, EndedAt: &end},
			{ID: second, Reference: "R-2", Status: cancelled, EndedAt: &end},
		},
		Audit: &audit.Report{},
		Gateway: []gatewaysim.Entry{
			{Kind: gatewaysim.Authorize, OrderID: first.String(), At: at(2)},
			{Kind: gatewaysim.Authorize, OrderID: second.String(), At: at(2)},
			{Kind: gatewaysim.Capture, OrderID: first.String(), At: at(5)},
			{Kind: gatewaysim.Void, OrderID: second.String(), At: at(8)},
		},
		Carrier: []carriersim.Entry{
			{Kind: carriersim.LabelBought, Reference: "s-1", At: at(4)},
			{Kind: carriersim.LabelBought, Reference: "s-2", At: at(3)},
			{Kind: carriersim.LabelRefunded, Reference: "s-2", At: at(7)},
		},
		Shipments: map[string]string{"s-1": first.String(), "s-2": second.String()},
	}
}

func TestVerdict_nothing_wrong(t *testing.T) {
	t.Parallel()
	r := books().Judge()
	require.Empty(t, r.Findings)
	require.True(t, r.OK())
	require.Equal(t, 2, r.Sagas)
}

// Every oracle can fail: each of these is found, by the one whose task it is.
func TestVerdict_finds(t *testing.T) {
	t.Parallel()
	poison, ours := "chaos-poison", first.String()
	for _, c := range []struct {
		name  string
		spoil func(b *chaos.Books)
		count func(r *chaos.Report) int
		want  string
	}{
		{"an order that is not there", func(b *chaos.Books) { b.Orders = b.Orders[1:] }, lost, "is not there"},
		{"an order that has not ended", func(b *chaos.Books) { b.Orders[0].EndedAt = nil }, lost, "has not ended"},
		{"an order that a client lost", func(b *chaos.Books) { b.Cases[0].Lost = true }, lost, "is not there"},
		{"an order that was never accepted", func(b *chaos.Books) {
			b.Cases[0].ID, b.Cases[0].Seen = "", nil
		}, lost, "was never accepted"},
		{"two sagas for an order", func(b *chaos.Books) {
			b.Orders = append(b.Orders, b.Orders[0])
			b.Orders[2].ID = uuid.New()
		}, doubled, "has two sagas"},
		{"an order that nobody placed", func(b *chaos.Books) { b.Cases = b.Cases[1:] }, doubled, "was placed by nobody"},
		{"an effect that happened twice", func(b *chaos.Books) {
			b.Audit.Doubled = []auditapi.Finding{{What: "captured 2 times"}}
		}, doubled, "captured 2 times"},
		{"too much sold", func(b *chaos.Books) { b.Audit.Stock = []auditapi.Finding{{What: "units"}} }, oversold, "units"},
		{"money too much", func(b *chaos.Books) { b.Audit.Money = []auditapi.Finding{{What: "cents"}} }, money, "cents"},
		{"something held", func(b *chaos.Books) { b.Audit.HeldAfterUndo = []auditapi.Finding{{What: "label"}} }, held, "label"},
		{"something missing", func(b *chaos.Books) { b.Audit.Missing = []auditapi.Finding{{What: "capture"}} }, lies, "capture"},
		{"completed before the capture", func(b *chaos.Books) { b.Gateway[2].At = at(7) }, lies, "the gateway captured at"},
		{"completed without a capture", func(b *chaos.Books) { b.Gateway = b.Gateway[:2] }, lies, "the gateway captured at"},
		{"completed before the label", func(b *chaos.Books) { b.Carrier[0].At = at(7) }, lies, "the carrier sold the label at"},
		{"cancelled before the void", func(b *chaos.Books) { b.Gateway[3].At = at(11) }, lies, "the providers' last entry"},
		{"cancelled before the refund", func(b *chaos.Books) { b.Carrier[2].At = at(11) }, lies, "the providers' last entry"},
		{"a way back from the end", func(b *chaos.Books) {
			b.Cases[0].Seen = append(b.Cases[0].Seen, chaos.Sighting{cancelled, 6, at(9)})
		}, lies, "cancelled after completed"},
		{"a way back from the point of no return", func(b *chaos.Books) {
			b.Cases[0].Seen[3].Status = cancelling
		}, lies, "cancelling after confirmed"},
		{"an older revision", func(b *chaos.Books) { b.Cases[0].Seen[3].Revision = 3 }, lies, "revision 3 after revision 4"},
		{"another end than was seen", func(b *chaos.Books) { b.Orders[1].Status = completed }, lies, "completed at the end"},
		{"a refusal that was not one", func(b *chaos.Books) { b.Cases[0].Never = true }, lies, "it had to be refused"},
		{"a cancellation that was not one", func(b *chaos.Books) { b.Cases[0].Cancel = "agreed" }, lies, "was agreed to"},
		{"too late that was not", func(b *chaos.Books) { b.Cases[1].Cancel = "too_late" }, lies, "too late for a cancellation"},
		{"a gap in the history", func(b *chaos.Books) {
			event := []coordinatorapi.HistoryEvent{{}}
			b.Cases[0].History = []coordinatorapi.HistoryEntry{
				{Seq: 1, Revision: 1, Events: event}, {Seq: 5, Revision: 3, Events: event},
			}
		}, lies, "revision 3 follows 1"},
		{"a history that is too short", func(b *chaos.Books) {
			b.Cases[0].History = []coordinatorapi.HistoryEntry{{Seq: 1, Revision: 1, Events: make([]coordinatorapi.HistoryEvent, 1)}}
		}, lies, "the history ends with 1"},
		{"a record of an order that was parked", func(b *chaos.Books) {
			b.Letters = []coordinatorapi.DeadLetter{{Key: &poison}, {Key: &ours, Error: "odd"}}
		}, parked, "odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := books()
			c.spoil(&b)
			r := b.Judge()
			require.Equal(t, 1, c.count(r), r.Findings)
			require.Contains(t, r.Findings[0], c.want)
			require.False(t, r.OK())
		})
	}
}

func lost(r *chaos.Report) int     { return r.Lost }
func doubled(r *chaos.Report) int  { return r.Doubled }
func oversold(r *chaos.Report) int { return r.Oversold }
func money(r *chaos.Report) int    { return r.MoneyDifferences }
func held(r *chaos.Report) int     { return r.HeldAfterUndo }
func lies(r *chaos.Report) int     { return r.FalseClaims }
func parked(r *chaos.Report) int   { return r.Parked }

func TestReport_rare_things_that_must_happen(t *testing.T) {
	t.Parallel()
	r := &chaos.Report{Faults: map[string]int{"kill": 149}, Sometimes: map[string]int{"tombstone_hit": 3}}
	require.Empty(t, r.Missed(), "too short to meet everything")
	r.Faults["kill"]++
	require.Contains(t, r.Missed(), "refusal_replayed")
	require.NotContains(t, r.Missed(), "tombstone_hit")
}

func TestTally_counts_over_restarts(t *testing.T) {
	t.Parallel()
	const series = `recourse_worker_commands_total{participant="payment",row="void",type="x",verdict="say_fenced"} `
	require.Equal(t, 12, chaos.Count(series+"4\n", series+"7\n", "# HELP other\n"+series+"5\n")["tombstone_hit"])
}

func TestRarities_doubt_and_its_end(t *testing.T) {
	t.Parallel()
	step, undo := "authorize_payment", coordinatorapi.HistoryEventOperationUndo
	found := chaos.Rarities([]coordinatorapi.HistoryEntry{
		{Events: []coordinatorapi.HistoryEvent{{Event: "reply_in_doubt", Step: &step}}},
		{Events: []coordinatorapi.HistoryEvent{{Event: "timer_fired", Step: &step}, {Event: "reply_refused", Step: &step}}},
		{Events: []coordinatorapi.HistoryEvent{{Event: "timer_fired", Step: &step, Operation: &undo}}},
		{Events: []coordinatorapi.HistoryEvent{{Event: "reply_done", Step: &step, EvidenceOnly: true}}},
	})
	require.Equal(t, map[string]int{
		"unknown_payment_resolved_refused": 1, "resent": 2, "undo_resent": 1, "late_reply": 1,
	}, found)
}
