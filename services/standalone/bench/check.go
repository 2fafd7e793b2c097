package bench

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"recourse.dev/coordinator/saga"
)

const sagasSQL = `
SELECT
    id,
    state,
    ended_at IS NOT NULL,
    record
FROM saga
WHERE id > $1`

const stepsSQL = `
SELECT
    count(*) FILTER (WHERE state = 2),
    count(*) FILTER (WHERE state = 3),
    count(*) FILTER (WHERE state = 6),
    count(*),
    (SELECT count(*) FROM dead_letter)
FROM step
WHERE saga_id > $1`

// steps counts the rows of a participant.
type steps struct{ done, refused, undone, all, letters int64 }

// checkSagas reads every saga of the run at a coordinator: each has ended as it was meant to, and nothing is unknown.
func checkSagas(
	ctx context.Context, g *ground, database string, d *saga.Definition, want expected,
) (wrong []string, err error) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	completed, compensated := 0, 0
	err = eachSaga(ctx, g, database, func(one *saga.Saga, ended bool) {
		switch {
		case !ended:
			bad("order %s has not ended", one.ID)
		case one.State == saga.Completed:
			completed++
		case one.State == saga.Compensated:
			compensated++
		default:
			bad("order %s ended as %s", one.ID, one.State)
		}
		for _, entry := range saga.Ledger(d, one) {
			there := entry.Holding == saga.Held || entry.Holding == saga.Consumed
			if there != (one.State == saga.Completed) || !there && entry.Holding != saga.Released {
				bad("order %s is %s, and its %s is %s", one.ID, one.State, entry.Kind, entry.Holding)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	meant := int(want.fates[completes])
	if completed+compensated != int(want.orders()) || completed > meant || completed < meant && !want.scarce {
		bad("%d completed and %d compensated by their rows, where %d and %d were meant to",
			completed, compensated, meant, int(want.orders())-meant)
	}
	if completed != want.completed || compensated != want.compensated {
		bad("%d completed and %d compensated by their rows, %d and %d by what the coordinator told",
			completed, compensated, want.completed, want.compensated)
	}
	return wrong, nil
}

// check also reads what every participant has written down.
func (s *threeStep) check(ctx context.Context, g *ground, want expected) (wrong []string, err error) {
	if wrong, err = checkSagas(ctx, g, coordinatorDB, s.definition, want); err != nil {
		return nil, err
	}
	good, bank, carrier := want.fates[completes], want.fates[declined], want.fates[refused]
	books := []steps{
		{done: good, undone: bank + carrier, all: good + bank + carrier},
		{done: good, refused: bank, undone: carrier, all: good + bank + carrier},
		{done: good, refused: carrier, all: good + carrier},
	}
	for i, database := range s.databases {
		found, err := readSteps(ctx, g, database)
		if err != nil {
			return nil, err
		}
		if found != books[i] {
			wrong = append(wrong, fmt.Sprintf("the books of %s: %+v, want %+v", database, found, books[i]))
		}
	}
	return wrong, nil
}

func eachSaga(ctx context.Context, g *ground, database string, do func(one *saga.Saga, ended bool)) error {
	conn, err := g.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // it has answered
	rows, err := conn.Query(ctx, sagasSQL, g.since())
	if err != nil {
		return fmt.Errorf("reading the sagas: %w", err)
	}
	var (
		one    saga.Saga
		ended  bool
		record []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&one.ID, &one.State, &ended, &record}, func() error {
		if err := saga.UnmarshalRecord(record, &one); err != nil {
			return err
		}
		do(&one, ended)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the sagas: %w", err)
	}
	return nil
}

func readSteps(ctx context.Context, g *ground, database string) (s steps, err error) {
	conn, err := g.connect(ctx, database)
	if err != nil {
		return s, err
	}
	defer conn.Close(ctx) //nolint:errcheck // it has answered
	if err := conn.QueryRow(ctx, stepsSQL, g.since()).Scan(&s.done, &s.refused, &s.undone, &s.all, &s.letters); err != nil {
		return s, fmt.Errorf("reading the steps of %s: %w", database, err)
	}
	return s, nil
}
