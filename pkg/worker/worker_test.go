package worker_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/worker"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
)

func TestSchema_stands_in_every_participants_migrations(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../migrations/*/00001_participant.sql")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, worker.Schema, string(text), "%s; copy pkg/worker/participant.sql there", path)
	}
	require.Contains(t, worker.Schema, deadletter.DDL)
	require.Contains(t, worker.PruneSchema, deadletter.PruneDDL)
	require.Contains(t, worker.DismissSchema, deadletter.DismissDDL)
	for name, want := range map[string]string{
		"participant_prune.sql": worker.PruneSchema, "participant_dismiss.sql": worker.DismissSchema,
	} {
		later, err := filepath.Glob("../../migrations/*/*_" + name)
		require.NoError(t, err)
		require.Len(t, later, len(paths))
		for _, path := range later {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, want, string(text), "%s; copy pkg/worker/%s there", path, name)
		}
	}
}

func TestStatements_can_be_prepared(t *testing.T) {
	t.Parallel()
	pool := mustDB(t, shelfDDL)
	for name, sql := range worker.Statements {
		// Named arguments are pgx's; the server sees numbers.
		args := pgx.NamedArgs{}
		rewritten, _, err := args.RewriteQuery(t.Context(), nil, sql, nil)
		require.NoError(t, err)
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		_, err = conn.Conn().Prepare(t.Context(), name, rewritten)
		conn.Release()
		require.NoError(t, err, name)
	}
}

func TestNew_names_what_is_wrong(t *testing.T) {
	t.Parallel()
	_, err := worker.New(worker.Config{
		MaxBatch: -1, MaxCalls: -1, CallTimeout: -time.Second, ProbeDelays: []time.Duration{-1},
	}, nil, slog.Default(), nil)
	for _, want := range []string{
		"Participant is empty", "MaxBatch is -1", "MaxCalls is -1", "CallTimeout is -1s", "ProbeDelays[0] is -1ns",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestHandle_refuses_what_cannot_work(t *testing.T) {
	t.Parallel()
	w, err := worker.New(worker.Config{Participant: "test"}, nil, slog.Default(), nil)
	require.NoError(t, err)
	require.PanicsWithValue(t, "worker: Handler for recourse.inventory.v1.ReserveStock has no Do", func() {
		worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{})
	})
	require.PanicsWithValue(t, "worker: CallHandler for recourse.payment.v1.CapturePayment needs Call and Settle", func() {
		worker.HandleCall(w, worker.CallHandler[*paymentv1.CapturePayment, worker.NoUndo]{})
	})
	registerShelf(w)
	require.PanicsWithValue(t, "worker: two handlers for recourse.inventory.v1.ReserveStock", func() { registerShelf(w) })
}
