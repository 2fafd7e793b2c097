package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pace"
	"recourse.dev/pkg/worker/internal/halt"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// Run consumes commands until ctx ends. Then it finishes the batch in hand, waits for outstanding calls, settles them
// and produces their replies, all within Config.DrainTimeout, and returns nil. A worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	if len(w.registrations) == 0 {
		return errors.New("running worker: no handler is registered")
	}
	defer w.Close()
	// intake ends with ctx, or when the consumer gives up; work ends when there is no more time to finish.
	intake, stopIntake := context.WithCancel(ctx)
	defer stopIntake()
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	defer context.AfterFunc(intake, func() { time.AfterFunc(w.cfg.DrainTimeout, stopWork) })()

	if err := w.checkRetention(ctx); err != nil {
		return fmt.Errorf("running worker: %w", err)
	}
	name := "worker-" + w.cfg.Participant
	producer, err := kafka.NewProducer(w.cfg.Kafka, name+"-producer", w.log, w.registerer)
	if err != nil {
		return fmt.Errorf("running worker: %w", err)
	}
	defer producer.Close()
	w.producer.Store(producer)
	topics := w.cfg.Kafka.Topics()
	consumer, err := kafka.NewConsumer(w.cfg.Kafka, name, kafka.ConsumerOptions{
		Group:        topics.Group(w.cfg.Participant),
		Topics:       []string{topics.CommandTopic(w.cfg.Participant)},
		MaxRecords:   w.pollSize(),
		DrainTimeout: w.cfg.DrainTimeout,
		Handle: func(ctx context.Context, records []*kgo.Record) error {
			return w.consume(ctx, producer, records)
		},
	}, w.log, w.registerer)
	if err != nil {
		return fmt.Errorf("running worker: %w", err)
	}
	w.consumer.Store(consumer)
	for try := 0; !w.clock.Known(); try++ {
		if err := w.ReadClock(intake); err != nil {
			w.log.WarnContext(ctx, "waiting for the database", slog.String("error", err.Error()))
			if !wait(intake, try) {
				return nil
			}
		}
	}

	var background sync.WaitGroup
	background.Go(func() { w.resolveLoop(intake) })
	background.Go(func() { w.pruneLoop(intake) })
	background.Go(func() { w.settleLoop(intake, work, producer) })
	err = consumer.Run(ctx)
	stopIntake()
	background.Wait()
	w.drain(work, producer)
	if err == nil {
		err = crash.Fail(crash.WorkerAfterDrain)
	}
	if err != nil {
		return fmt.Errorf("running worker: %w", err)
	}
	return nil
}

// pollSize is how many commands are taken at a time. Commands that wait for an outside call wait where others can see
// them, in the broker's queue, and not here: whoever looks at the queue decides by it whether there is room for more.
func (w *Worker) pollSize() int {
	for _, reg := range w.registrations {
		if reg.mayCall(OpDo) {
			return min(w.cfg.MaxBatch, w.cfg.MaxCalls)
		}
	}
	return w.cfg.MaxBatch
}

// consume is one poll: apply, reply, and only then let the offsets be committed. When the replies cannot be produced
// the same records come again and are answered from their rows.
func (w *Worker) consume(ctx context.Context, producer *kgo.Client, records []*kgo.Record) error {
	// A provider that has become slow slows the intake down; otherwise rows would be in doubt that nobody asks about.
	err := w.calls.until(ctx, func() bool { return len(w.calls.open) <= w.cfg.MaxCalls })
	if err != nil {
		return fmt.Errorf("waiting for outside calls: %w", err)
	}
	replies, err := w.Process(ctx, records)
	if err != nil {
		return err
	}
	if err := kafka.Produce(ctx, producer, replies); err != nil {
		return err
	}
	return halt.At(ctx, crash.WorkerAfterProduce)
}

// settleLoop settles calls as they come back, until the intake has ended.
func (w *Worker) settleLoop(intake, work context.Context, producer *kgo.Client) {
	var pacer pace.Pacer
	for try := 0; ; {
		began := time.Now()
		if err := w.calls.until(intake, func() bool { return len(w.calls.ready) > 0 }); err != nil {
			return
		}
		came, settled := time.Now(), w.calls.back()
		if w.settleOnce(work, producer) {
			ended := time.Now()
			pace.Wait(intake, pacer.Pause(settled, came.Sub(began), ended.Sub(came), ended))
			try = 0
			continue
		}
		wait(intake, try)
		try++
	}
}

// drain settles what is still on its way, for as long as there is time. What is left stays in doubt, and the next
// process asks again.
func (w *Worker) drain(work context.Context, producer *kgo.Client) {
	for try := 0; w.calls.outstanding() > 0 && work.Err() == nil; {
		if w.settleOnce(work, producer) {
			try = 0
			continue
		}
		wait(work, try)
		try++
	}
	if left := w.calls.outstanding(); left > 0 {
		w.log.WarnContext(work, "stopped with outside calls unanswered; they stay in doubt and are asked again",
			slog.Int("calls", left))
	}
}

// settleOnce reports whether everything went well. The replies of what was settled are produced in any case: the
// facts are committed, and keeping them back would only cost a resend.
func (w *Worker) settleOnce(ctx context.Context, producer *kgo.Client) bool {
	replies, err := w.Settle(ctx)
	if err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "settling outside calls failed; trying again", slog.String("error", err.Error()))
	}
	for try := 0; ; try++ {
		produceErr := kafka.Produce(ctx, producer, replies)
		if produceErr == nil && len(replies) > 0 {
			produceErr = crash.Fail(crash.WorkerAfterSettleProduce)
		}
		if produceErr == nil {
			return err == nil
		}
		w.log.WarnContext(ctx, "producing replies failed; trying again", slog.Int("replies", len(replies)),
			slog.String("error", produceErr.Error()))
		if !wait(ctx, try) {
			// The coordinator asks again and gets the stored replies.
			return false
		}
	}
}

// wait pauses a growing, jittered while; false when ctx has ended.
func wait(ctx context.Context, try int) bool {
	ceiling := min(longestPause, firstPause<<min(try, 10))
	return pace.Wait(ctx, ceiling/2+rand.N(ceiling/2))
}
