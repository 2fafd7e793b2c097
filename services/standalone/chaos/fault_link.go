package chaos

import (
	"context"

	"recourse.dev/services/standalone/stack"
)

type strike func(ctx context.Context, w *world, f Fault) (healing, error)

func slowLink(to string) strike {
	return func(ctx context.Context, w *world, f Fault) (healing, error) {
		l := w.links[f.On+">"+to]
		latency := map[string]any{"latency": 60, "jitter": 50}
		return l.heal, l.poison(ctx,
			toxic{Type: "latency", Stream: toServer, Attributes: latency},
			toxic{Type: "bandwidth", Stream: toClient, Attributes: map[string]any{"rate": 200}})
	}
}

// halfOpen lets nothing through and closes nothing.
func halfOpen(to string) strike {
	return func(ctx context.Context, w *world, f Fault) (healing, error) {
		l := w.links[f.On+">"+to]
		silence := map[string]any{"timeout": 0}
		return l.heal, l.poison(ctx,
			toxic{Type: "timeout", Stream: toServer, Attributes: silence},
			toxic{Type: "timeout", Stream: toClient, Attributes: silence})
	}
}

const (
	resetAll       = "once"
	resetAnswer    = "answer"
	resetHalf      = "half_a_request"
	resetHalfReply = "half_an_answer"
)

// resets are the ways in which connections end: all at once, in place of every answer, in the middle of a request, in
// the middle of an answer.
var resets = []string{resetAll, resetAnswer, resetHalf, resetHalfReply}

func resetLink(to string) strike {
	return func(ctx context.Context, w *world, f Fault) (healing, error) {
		return w.links[f.On+">"+to].resets(ctx, f.How)
	}
}

func resetProviderLink(ctx context.Context, w *world, f Fault) (healing, error) {
	return w.links[callers[f.On]+">"+f.On].resets(ctx, f.How)
}

func (l *link) resets(ctx context.Context, how string) (healing, error) {
	switch how {
	case resetAnswer:
		return l.heal, l.poison(ctx,
			toxic{Type: "reset_peer", Stream: toClient, Toxicity: 0.5, Attributes: map[string]any{"timeout": 0}})
	case resetHalf:
		return l.heal, l.poison(ctx,
			toxic{Type: "limit_data", Stream: toServer, Toxicity: 0.7, Attributes: map[string]any{"bytes": 1500}})
	case resetHalfReply:
		return l.heal, l.poison(ctx,
			toxic{Type: "limit_data", Stream: toClient, Toxicity: 0.7, Attributes: map[string]any{"bytes": 900}})
	default:
		return nil, l.reset(ctx)
	}
}

// commitAnswerLost cuts connections when the database says that it has committed.
func commitAnswerLost(ctx context.Context, w *world, f Fault) (healing, error) {
	l := w.links[f.On+">"+postgres]
	return l.heal, l.poison(ctx, toxic{Type: cutCommitType, Stream: toClient, Toxicity: 0.8})
}

func mailOutage(ctx context.Context, w *world, _ Fault) (healing, error) {
	return w.links[stack.Notification+">"+stack.MailSink].cut(ctx)
}

// cut refuses all connections.
func (l *link) cut(ctx context.Context) (healing, error) {
	stop := func() error {
		l.proxy.Stop()
		return nil
	}
	return func(context.Context) error { return l.proxy.Start() }, l.change(ctx, stop)
}
