package worker

import (
	"context"

	"github.com/google/uuid"

	"recourse.dev/pkg/deadletter"
)

// Redrive writes the record of a dead letter to its topic again, so that it is read, applied and answered as any command.
// A worker that does not run cannot; to the operator that is a broker which takes nothing for now.
func (w *Worker) Redrive(ctx context.Context, id uuid.UUID) (deadletter.Letter, error) {
	return deadletter.Redrive(ctx, w.pool, w.producer.Load(), id)
}
