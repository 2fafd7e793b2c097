package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/standalone/stack"
)

// casualties is one platform whose members are struck, and the shop that goes on ordering.
type casualties struct {
	*platform
	mu     sync.Mutex
	orders []placement
}

// placement is an order of the crash test and what it may come to.
type placement struct {
	id       string
	outcomes []string
}

func (c *casualties) placed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.orders)
}

// poison is a record that nobody can read.
const poison = "\x00 no message"

// keepBusy lets orders, operators, poison, repeats and time keep the members busy until stop is called, so that every
// point is met all the time.
func (c *casualties) keepBusy() (stop func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	var busy sync.WaitGroup
	every := func(pause time.Duration, do func(i int) error) {
		busy.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := do(i); err != nil && ctx.Err() == nil {
					c.t.Errorf("keeping the platform busy: %v", err)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	struck := c.URL(stack.Coordinator)
	every(100*time.Millisecond, func(i int) error { return c.shop(struck, mix[i%len(mix)]) })
	every(500*time.Millisecond, func(int) error { return c.operate(struck) })
	c.disturb(every)
	return func() {
		cancel()
		busy.Wait()
	}
}

// disturb sends poison, sends commands twice, ends holds and forgets that events were published.
func (c *casualties) disturb(every func(time.Duration, func(int) error)) {
	c.t.Helper()
	topics := c.Kafka().Topics()
	var commands []string
	poisoned := []string{topics.ReplyTopic(stack.Payment)}
	for _, member := range []string{stack.Inventory, stack.Payment} {
		commands = append(commands, topics.CommandTopic(member))
		poisoned = append(poisoned, topics.CommandTopic(member))
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka().Brokers...), kgo.ConsumeTopics(commands...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.WithLogger(nil))
	require.NoError(c.t, err)
	c.t.Cleanup(client.Close)
	produce := func(records ...*kgo.Record) error {
		return client.ProduceSync(c.t.Context(), records...).FirstErr()
	}
	every(700*time.Millisecond, func(int) error {
		var records []*kgo.Record
		for _, topic := range poisoned {
			for partition := range c.Kafka().Partitions {
				records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(poison)})
			}
		}
		return produce(records...)
	})
	every(300*time.Millisecond, func(int) error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 100*time.Millisecond)
		defer cancel()
		var again []*kgo.Record
		seen := map[string]int{}
		for _, r := range slices.Backward(client.PollFetches(ctx).Records()) {
			key := fmt.Sprint(r.Topic, r.Partition)
			if seen[key]++; seen[key] <= 2 && string(r.Value) != poison {
				again = append(again, &kgo.Record{
					Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers,
				})
			}
		}
		<-time.After(time.Second) // until it is answered
		return produce(again...)
	})
	stock := pgtest.Pool(c.t, c.DatabaseURL(stack.Inventory))
	books := pgtest.Pool(c.t, c.DatabaseURL(stack.Coordinator))
	every(500*time.Millisecond, func(int) error {
		_, err := stock.Exec(c.t.Context(), `UPDATE reservation SET expires_at = now() WHERE reservation_id IN (
			SELECT reservation_id FROM reservation WHERE state = 'held' LIMIT 2 FOR UPDATE SKIP LOCKED)`)
		return err
	})
	every(500*time.Millisecond, func(int) error {
		_, err := books.Exec(c.t.Context(), `UPDATE outbox SET published_at = NULL, claimed_until = '-infinity' WHERE id IN (
			SELECT id FROM outbox WHERE published_at IS NOT NULL ORDER BY id DESC LIMIT 3 FOR UPDATE SKIP LOCKED)`)
		return err
	})
}

// shop places an order as a shop would: until it is answered, under one key, at whichever coordinator is there.
func (c *casualties) shop(struck string, kind purchase) error {
	o := mug(kind.shape)
	a, err := c.insist(struck, "/v1/orders", o.Reference, o)
	if err != nil {
		return err
	}
	if a.status != http.StatusAccepted {
		return fmt.Errorf("placing an order: %d %s", a.status, a.body)
	}
	var receipt coordinatorapi.OrderReceipt
	if err := json.Unmarshal(a.body, &receipt); err != nil {
		return err
	}
	id := receipt.ID.String()
	if kind.cancel {
		a, err = c.insist(struck, "/v1/orders/"+id+"/cancel", "", map[string]any{})
		if err != nil {
			return err
		}
		if !slices.Contains([]int{http.StatusOK, http.StatusAccepted, http.StatusConflict}, a.status) {
			return fmt.Errorf("cancelling order %s: %d %s", id, a.status, a.body)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders = append(c.orders, placement{id, kind.outcomes})
	return nil
}

// operate pauses an order and lets it go on, and sends the newest dead letter to its topic again.
func (c *casualties) operate(struck string) error {
	c.mu.Lock()
	var id string
	if n := len(c.orders); n > 0 {
		id = c.orders[n-1].id
	}
	c.mu.Unlock()
	if id != "" {
		for _, verb := range []string{"pause", "resume"} {
			a, err := c.insist(struck, "/v1/sagas/"+id+"/actions", "", map[string]any{"type": verb, "reason": "a look"})
			if err != nil {
				return err
			}
			if a.status != http.StatusAccepted && a.status != http.StatusConflict {
				return fmt.Errorf("%s of order %s: %d %s", verb, id, a.status, a.body)
			}
		}
	}
	a, err := c.ask(http.MethodGet, c.system.Coordinator+"/v1/dead-letters?limit=10", "", nil)
	if err != nil {
		return err
	}
	var page coordinatorapi.DeadLetterPage
	if err := json.Unmarshal(a.body, &page); err != nil {
		return fmt.Errorf("listing dead letters: %w: %s", err, a.body)
	}
	for _, letter := range page.DeadLetters {
		if letter.RedrivenAt == nil {
			_, err := c.insist(struck, "/v1/dead-letters/"+letter.ID.String()+"/redrive", "", nil)
			return err
		}
	}
	return nil
}

// insist repeats a request while the coordinator is dead, or stands still, or says that it cannot work, at one and then
// at the other.
func (c *casualties) insist(struck, path, key string, body any) (answer, error) {
	urls := []string{struck, c.system.Coordinator}
	begin := time.Now()
	for i := 0; ; i++ {
		a, err := c.ask(http.MethodPost, urls[i%2]+path, key, body)
		if err == nil && (a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests) {
			err = fmt.Errorf("status %d: %s", a.status, a.body)
		}
		if err == nil {
			return a, nil
		}
		if c.t.Context().Err() != nil || time.Since(begin) > time.Minute {
			return a, fmt.Errorf("POST %s: %w", path, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// onlyPoisonParked: no service has put anything else aside.
func (c *casualties) onlyPoisonParked() {
	c.t.Helper()
	for _, name := range []string{stack.Coordinator, stack.Inventory, stack.Payment, stack.Shipping, stack.Notification} {
		for _, letter := range c.letters(name) {
			// The records of orders have keys.
			require.True(c.t, letter.Key == nil && letter.Reason == "undecodable", "%s parked %+v", name, letter)
		}
	}
}
