package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// NewProducer makes an idempotent producer with acks=all. The name is for logs and metrics and must be unique within
// the registry; reg may be nil. The caller closes the client.
func NewProducer(config Config, name string, log *slog.Logger, reg prometheus.Registerer) (*kgo.Client, error) {
	config = config.withDefaults()
	opts, err := config.options(name, log, reg)
	if err != nil {
		return nil, err
	}
	m := newMetrics(reg, name)
	client, err := kgo.NewClient(append(opts,
		kgo.RecordDeliveryTimeout(config.DeliveryTimeout),
		// Without it, a record whose request went unanswered waits for the broker for ever, whatever the timeout and the
		// context say, and the batch, the drain and the group would wait with it. With it, a record that failed may have
		// been written all the same; that is what every reader here takes anyway. The client begins a new producer epoch
		// afterwards, so that later records are never mistaken for repeats.
		kgo.AllowIdempotentProduceCancellation(),
		kgo.MaxBufferedBytes(config.MaxBufferedBytes),
		// Produce hands over whole batches; waiting for more of them only adds latency.
		kgo.ProducerLinger(0),
		kgo.ProducerOnDataLossDetected(func(topic string, partition int32) {
			m.dataLoss.Inc()
			log.Error("the broker forgot what this producer wrote; records may be lost or repeated, resends heal it",
				"topic", topic, "partition", partition)
		}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka producer: %w", err)
	}
	return client, nil
}

// Produce writes the records and returns when every one of them is acknowledged. Records of one partition keep their
// order. After an error some records may have been written, those that are named in it included.
func Produce(ctx context.Context, client *kgo.Client, records []*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	// The client looks at its own timeout only when a request ends, and a broker that hangs does not end one.
	if timeout, ok := client.OptValue(kgo.RecordDeliveryTimeout).(time.Duration); ok && timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	failed, err := produce(ctx, client, records)
	if err == nil {
		return nil
	}
	// A topic that was deleted and made anew is another topic to the client, and it refuses to write to it until it is
	// told to forget the old one. What failed so was never written to the new topic.
	if !errors.Is(err, kerr.UnknownTopicID) {
		return err
	}
	topics := make(map[string]bool)
	for _, r := range failed {
		topics[r.Topic] = true
	}
	client.PurgeTopicsFromProducing(keys(topics)...)
	_, err = produce(ctx, client, failed)
	return err
}

// produce returns the records that failed, in order, and the first error.
func produce(ctx context.Context, client *kgo.Client, records []*kgo.Record) ([]*kgo.Record, error) {
	// The client writes into what it is given: the time from which it counts the delivery timeout, a context, headers. A
	// record that is produced again must not bring these along, or it is too old before it is sent.
	written, copies := make([]kgo.Record, len(records)), make([]*kgo.Record, len(records))
	for i, r := range records {
		written[i] = *r
		written[i].Headers = slices.Clip(r.Headers)
		copies[i] = &written[i]
	}
	var firstErr error
	failed := make(map[*kgo.Record]bool)
	for _, result := range client.ProduceSync(ctx, copies...) {
		if result.Err == nil {
			continue
		}
		failed[result.Record] = true
		// The topic's own error says more than that of records which failed along with it.
		if firstErr == nil || errors.Is(result.Err, kerr.UnknownTopicID) {
			firstErr = fmt.Errorf("producing to %s: %w", result.Record.Topic, result.Err)
		}
	}
	// Results come in the order of the acknowledgements; the records of a partition must keep their own.
	var ordered []*kgo.Record
	for i, r := range records {
		if failed[copies[i]] {
			ordered = append(ordered, r)
		} else {
			r.Partition, r.Offset = written[i].Partition, written[i].Offset
		}
	}
	if n := len(ordered); n > 1 {
		firstErr = fmt.Errorf("%w (and %d more of %d records)", firstErr, n-1, len(records))
	}
	return ordered, firstErr
}

func keys(set map[string]bool) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	return names
}
