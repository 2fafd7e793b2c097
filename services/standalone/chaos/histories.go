package chaos

import (
	"context"
	"fmt"
	"sync"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// readHistories reads the history of every order, checks that it is whole, and counts the rare things in it.
func (w *world) readHistories(ctx context.Context, sales []*sale) error {
	const readers = 6
	errs := make([]error, readers)
	var reading sync.WaitGroup
	for k := range readers {
		reading.Go(func() {
			for i := k; i < len(sales) && errs[k] == nil; i += readers {
				if sales[i].id != "" && !sales[i].lost {
					errs[k] = w.readHistory(ctx, sales[i])
				}
			}
		})
	}
	reading.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) readHistory(ctx context.Context, s *sale) error {
	entries, err := pages(ctx, w, fmt.Sprintf("%s/v1/sagas/%s/history?limit=200", w.stack.System().Coordinator, s.id),
		func(p coordinatorapi.HistoryPage) ([]coordinatorapi.HistoryEntry, *string) {
			return p.Entries, p.NextCursor
		})
	if err != nil {
		return err
	}
	s.checkHistory(entries)
	for name, n := range rarities(entries) {
		w.tally.add(name, n)
	}
	return nil
}

// checkHistory: entries are in order, revisions have no gap, time does not go back, and nothing that was seen of the
// order is newer than its history.
func (s *sale) checkHistory(entries []coordinatorapi.HistoryEntry) {
	revision := int64(0)
	for i, e := range entries {
		if i > 0 && e.Seq <= entries[i-1].Seq {
			s.lie("entry %d follows %d in the history", e.Seq, entries[i-1].Seq)
			return
		}
		// An entry is one write; each of its events may have changed the saga.
		if e.Revision < revision || e.Revision > revision+int64(len(e.Events)) {
			s.lie("revision %d follows %d in the history", e.Revision, revision)
			return
		}
		revision = e.Revision
		if i > 0 && e.At.Before(entries[i-1].At) {
			s.lie("entry %d of the history is older than the one before", e.Seq)
			return
		}
	}
	if len(s.seen) > 0 && s.seen[len(s.seen)-1].revision > revision {
		s.lie("revision %d was seen, the history ends with %d", s.seen[len(s.seen)-1].revision, revision)
	}
}

// rarities counts what does not happen to every order.
func rarities(entries []coordinatorapi.HistoryEntry) map[string]int {
	found := map[string]int{}
	doubted := map[string]bool{}
	for _, entry := range entries {
		for _, e := range entry.Events {
			step := ""
			if e.Step != nil {
				step = *e.Step
			}
			undo := e.Operation != nil && *e.Operation == coordinatorapi.HistoryEventOperationUndo
			switch e.Event {
			case "reply_in_doubt":
				doubted[step] = true
			case "reply_done", "reply_refused":
				if doubted[step] && (step == "authorize_payment" || step == "capture_payment") {
					found["unknown_payment_resolved_"+e.Event[len("reply_"):]]++
				}
				doubted[step] = false
			case "timer_fired":
				found["resent"]++
				if undo {
					found["undo_resent"]++
				}
			case "step_given_up", "effect_returned", "deadline_passed":
				found[e.Event]++
			}
			if e.EvidenceOnly && len(e.Event) > 5 && (e.Event[:5] == "reply" || e.Event[:4] == "undo") {
				found["late_reply"]++
			}
		}
	}
	return found
}
