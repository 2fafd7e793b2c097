package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/pkg/message"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// poisonKey is the key of the records that nobody can read; dead letters with another one were somebody's order.
const poisonKey = "chaos-poison"

// poisonRecords writes what no service can apply into the topics that one of them reads, among everything else.
func poisonRecords(ctx context.Context, w *world, f Fault) (healing, error) {
	topics, _ := w.reads(f.On)
	var records []*kgo.Record
	for _, topic := range topics {
		for _, value := range []proto.Message{
			&sagav1.Reply{SagaId: uuid.NewString(), OrderId: uuid.NewString(), Step: "reserve_stock", Operation: 99},
			&inventoryv1.ReserveStock{Meta: &sagav1.CommandMeta{
				SagaId: uuid.NewString(), OrderId: uuid.NewString(), Step: "reserve_stock", Generation: 1, Operation: 99,
			}},
			&sagav1.Reply{SagaId: "nobody", Step: "nothing"},
		} {
			r, err := message.Encode(topic, poisonKey, message.Event{Source: poisonKey, Subject: poisonKey, Data: value})
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
		sound := records[len(records)-1]
		cut := *sound
		cut.Value = []byte("\xff\x00\x01no protobuf")
		unknown := *sound
		unknown.Headers = nil
		for _, h := range sound.Headers {
			if h.Key == message.HeaderType {
				h.Value = []byte("recourse.nonsense.v1.Nonsense")
			}
			unknown.Headers = append(unknown.Headers, h)
		}
		records = append(records, &cut, &unknown, &kgo.Record{Topic: topic, Key: []byte(poisonKey), Value: []byte("bare")},
			&kgo.Record{Topic: topic, Key: []byte(poisonKey)})
	}
	if err := w.produce(ctx, records); err != nil {
		return nil, err
	}
	w.tally.add("poison_sent", len(records))
	return nil, nil
}

func (w *world) produce(ctx context.Context, records []*kgo.Record) error {
	client, err := w.broker.client(kgo.RecordDeliveryTimeout(10 * time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("producing %d records: %w", len(records), err)
	}
	return nil
}

// sliceOfTopic is how many records of each partition come again.
const sliceOfTopic = 100

// recordsAgain writes the newest records of the topics that a service reads once more, in their order or in none.
func recordsAgain(shuffled bool) strike {
	return func(ctx context.Context, w *world, f Fault) (healing, error) {
		topics, _ := w.reads(f.On)
		records, err := w.newest(ctx, topics)
		if err != nil {
			return nil, err
		}
		if shuffled {
			rand.Shuffle(len(records), func(a, b int) { records[a], records[b] = records[b], records[a] })
		}
		copies := make([]*kgo.Record, len(records))
		for i, r := range records {
			copies[i] = &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
		}
		if err := w.produce(ctx, copies); err != nil {
			return nil, err
		}
		w.tally.add("records_written_again", len(copies))
		return nil, nil
	}
}

// newest reads the end of the topics.
func (w *world) newest(ctx context.Context, topics []string) ([]*kgo.Record, error) {
	client, err := w.broker.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("reading where topics begin: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("reading where topics end: %w", err)
	}
	from, want := map[string]map[int32]kgo.Offset{}, 0
	ends.Each(func(o kadm.ListedOffset) {
		first, _ := starts.Lookup(o.Topic, o.Partition)
		begin := max(first.Offset, o.Offset-sliceOfTopic)
		if o.Offset <= begin {
			return
		}
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().At(begin)
		want += int(o.Offset - begin)
	})
	if want == 0 {
		return nil, nil
	}
	reader, err := w.broker.client(kgo.ConsumePartitions(from))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var list []*kgo.Record
	for len(list) < want {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading the newest records: %w", err)
		}
		list = append(list, fetches.Records()...)
	}
	return list, nil
}
