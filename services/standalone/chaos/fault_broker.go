package chaos

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"

	"recourse.dev/services/standalone/stack"
)

func brokerKill(ctx context.Context, w *world, _ Fault) (healing, error) {
	return w.broker.start, w.broker.signal(ctx, syscall.SIGKILL)
}

func brokerFreeze(ctx context.Context, w *world, _ Fault) (healing, error) {
	return func(ctx context.Context) error { return w.broker.signal(ctx, thaw) }, w.broker.signal(ctx, freeze)
}

func brokerRestart(ctx context.Context, w *world, _ Fault) (healing, error) {
	return w.broker.start, w.broker.signal(ctx, syscall.SIGTERM)
}

// logWiped deletes all that the broker has: topics, records, offsets. The operator then makes the topics again, by
// `migrate`, while all services are running.
func logWiped(ctx context.Context, w *world, _ Fault) (healing, error) {
	open := w.open()
	if err := w.broker.signal(ctx, syscall.SIGKILL); err != nil {
		return nil, err
	}
	if err := w.broker.wipe(); err != nil {
		return w.broker.start, err
	}
	w.tally.add("log_wiped_with_orders_open", min(open, 1))
	return func(ctx context.Context) error {
		if err := w.broker.start(ctx); err != nil {
			return err
		}
		return again(ctx, func() error { return w.stack.Migrate(ctx) })
	}, nil
}

// reads are the topics that a service consumes, and its group.
func (w *world) reads(service string) (topics []string, group string) {
	names := w.stack.Kafka().Topics()
	if service != stack.Coordinator {
		return []string{names.CommandTopic(service)}, names.Group(service)
	}
	for _, name := range services[1:] {
		topics = append(topics, names.ReplyTopic(name))
	}
	return topics, names.Group(service)
}

// offsetsDeleted deletes a service's group while it is away, as an operator's slip or the broker's retention would.
func offsetsDeleted(ctx context.Context, w *world, f Fault) (healing, error) {
	return w.whileAway(ctx, f, func(ctx context.Context, admin *kadm.Client) error {
		_, group := w.reads(f.On)
		response, err := admin.DeleteGroup(ctx, group)
		if err = errors.Join(err, response.Err); err != nil {
			return fmt.Errorf("deleting the group %s: %w", group, err)
		}
		return nil
	})
}

// retentionEaten deletes what a service has not read yet while it is away.
func retentionEaten(ctx context.Context, w *world, f Fault) (healing, error) {
	return w.whileAway(ctx, f, func(ctx context.Context, admin *kadm.Client) error {
		topics, group := w.reads(f.On)
		ends, err := admin.ListEndOffsets(ctx, topics...)
		if err != nil {
			return err
		}
		if lag, err := admin.FetchOffsets(ctx, group); err == nil {
			eaten := int64(0)
			ends.Each(func(o kadm.ListedOffset) {
				if at, ok := lag.Lookup(o.Topic, o.Partition); ok && at.At >= 0 {
					eaten += max(0, o.Offset-at.At)
				}
			})
			w.tally.add("records_eaten_unread", int(eaten))
		}
		deleted, err := admin.DeleteRecords(ctx, ends.Offsets())
		if err = errors.Join(err, deleted.Error()); err != nil {
			return fmt.Errorf("deleting the records of %s: %w", f.On, err)
		}
		return nil
	})
}

// whileAway stops a service in order, lets work pile up for as long as the fault lasts, and does something to the
// broker before it comes back.
func (w *world) whileAway(ctx context.Context, f Fault, do func(context.Context, *kadm.Client) error) (healing, error) {
	u := w.units[f.On]
	release := func(context.Context) error { u.release(); return nil }
	u.hold()
	if err := errors.Join(u.stop(ctx), pause(ctx, f.lasts())); err != nil {
		return release, err
	}
	client, err := w.broker.client()
	if err != nil {
		return release, err
	}
	defer client.Close()
	ask, cancel := context.WithTimeout(ctx, 10*sec)
	defer cancel()
	return release, again(ask, func() error { return do(ask, kadm.NewClient(client)) })
}
