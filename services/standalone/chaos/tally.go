package chaos

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tally counts what happened on the way. A run that never met a tombstone has not tested tombstones.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	// last holds the counters of each process as they were read last, to add what came since.
	last map[string]map[string]float64
}

func newTally() *tally {
	return &tally{counts: map[string]int{}, last: map[string]map[string]float64{}}
}

func (t *tally) add(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[name] += n
}

func (t *tally) all() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// counters are those of the services' metrics that are added up: every series of the name that has the labels.
var counters = []struct{ as, series, labels string }{
	{"tombstone_stored", "recourse_worker_commands_total", `verdict="store_void"`},
	{"tombstone_hit", "recourse_worker_commands_total", `verdict="say_fenced"`},
	{"reply_repeated", "recourse_worker_commands_total", `verdict="repeat_reply"`},
	{"refusal_replayed", "recourse_worker_commands_total", `row="refused" verdict="repeat_reply"`},
	{"undo_while_in_doubt", "recourse_worker_commands_total", `verdict="remember_undo"`},
	{"asked_again_in_doubt", "recourse_worker_probes_total", ""},
	{"race_of_two_owners", "recourse_worker_lost_races_total", ""},
	{"batch_given_back", "recourse_kafka_batches_given_back_total", ""},
	{"batch_tried_again", "recourse_kafka_handle_failures_total", ""},
	{"offset_commit_failed", "recourse_kafka_commit_failures_total", ""},
	{"records_lost_noticed", "recourse_kafka_records_lost_total", ""},
	{"log_loss_noticed", "recourse_kafka_data_loss_total", ""},
	{"key_replayed", "recourse_coordinator_orders_total", `answer="replayed"`},
	{"webhook_repeated", "recourse_webhook_events_total", `result="duplicate"`},
	{"webhook_settled_a_doubt", "recourse_webhook_events_total", `result="woke"`},
	{"unknown_definition_left_alone", "recourse_coordinator_events_total", `outcome="unknown_definition"`},
}

// watch reads the counters of all services until ctx ends. What a process counts between a reading and its death is
// not seen.
func (t *tally) watch(ctx context.Context, w *world) {
	for pause(ctx, 2*time.Second) == nil {
		t.read(ctx, w)
	}
}

func (t *tally) read(ctx context.Context, w *world) {
	var all sync.WaitGroup
	for _, name := range services {
		for _, unit := range []string{name, name + copySuffix} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
				defer cancel()
				status, text, err := w.get(ctx, w.stack.URL(unit)+"/metrics")
				if err == nil && status == 200 {
					t.take(unit, string(text))
				}
			})
		}
	}
	all.Wait()
}

// take adds what the process has counted since the last reading; one that began anew counts from zero.
func (t *tally) take(process, text string) {
	now := map[string]float64{}
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		name, labels, _ := strings.Cut(series, "{")
		if !ok {
			name, value, ok = strings.Cut(strings.TrimSpace(line), " ")
			labels = ""
		}
		number, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			continue
		}
		for _, c := range counters {
			if c.series == name && hasAll(labels, c.labels) {
				now[c.as] += number
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.last[process]
	for as, value := range now {
		since := value
		if before != nil && value >= before[as] {
			since -= before[as]
		}
		t.counts[as] += int(since)
	}
	t.last[process] = now
}

func hasAll(labels, wanted string) bool {
	for label := range strings.FieldsSeq(wanted) {
		if !strings.Contains(labels, label) {
			return false
		}
	}
	return true
}
