package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// InBatches is InTx for a transaction whose first and last statements are known beforehand: first queues what goes out
// together with the BEGIN, and work leaves in last what goes out together with the COMMIT. That is two round trips less.
// What first asks for is read by the functions of its queries, before work runs.
//
// Like fn of InTx, first and work must be repeatable. When a statement of last fails nothing is committed, because the
// server passes over what follows it.
func InBatches(
	ctx context.Context, pool *pgxpool.Pool, first func(batch *pgx.Batch), work func(tx pgx.Tx, last *pgx.Batch) error,
) error {
	return Retry(ctx, func() error { return onceInBatches(ctx, pool, first, work) })
}

func onceInBatches(
	ctx context.Context, pool *pgxpool.Pool, first func(batch *pgx.Batch), work func(tx pgx.Tx, last *pgx.Batch) error,
) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer conn.Release()
	begin := &pgx.Batch{}
	begin.BeginTx(pgx.TxOptions{})
	first(begin)
	begun := conn.SendBatch(ctx, begin)
	tx := begun.Tx()
	// As in once. The transaction cannot know that it was committed, so the connection is asked.
	defer func() {
		if conn.Conn().PgConn().TxStatus() != idle {
			rollback(ctx, tx)
		}
	}()
	if err := begun.Close(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	last := &pgx.Batch{}
	if err := work(tx, last); err != nil {
		return err
	}
	last.Queue("commit").Exec(func(done pgconn.CommandTag) error {
		if done.String() == "ROLLBACK" {
			return pgx.ErrTxCommitRollback
		}
		return nil
	})
	if err := tx.SendBatch(ctx, last).Close(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// idle is the status of a connection outside any transaction.
const idle = 'I'
