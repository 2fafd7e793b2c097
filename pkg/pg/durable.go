package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const selectDurability = `
	SELECT name, setting
	FROM pg_catalog.pg_settings
	WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
	ORDER BY name`

// durable lists what each setting may be. For synchronous_commit everything but "off" waits for the local disk.
var durable = map[string]struct {
	accepted []string
	why      string
	mend     string
}{
	"fsync": {
		[]string{"on"},
		"a power cut can corrupt the whole cluster",
		"set fsync = on in postgresql.conf and reload",
	},
	"full_page_writes": {
		[]string{"on"},
		"a page torn by a power cut cannot be repaired",
		"set full_page_writes = on in postgresql.conf and reload",
	},
	"synchronous_commit": {
		[]string{"on", "remote_apply", "remote_write", "local"},
		"a commit is acknowledged before it is on disk, so an accepted order can vanish",
		"ALTER ROLE ... RESET synchronous_commit and ALTER DATABASE ... RESET synchronous_commit, " +
			"and set synchronous_commit = on in postgresql.conf",
	},
}

// CheckDurable refuses a server that may forget a commit it has acknowledged. Everything this project promises rests on
// that, so each service asks at start. The settings are those of a pooled session: a default of the role or the
// database counts.
func CheckDurable(ctx context.Context, pool *pgxpool.Pool) error {
	type setting struct {
		Name    string
		Setting string
	}
	rows, err := pool.Query(ctx, selectDurability)
	if err != nil {
		return fmt.Errorf("reading the durability settings: %w", err)
	}
	settings, err := pgx.CollectRows(rows, pgx.RowToStructByName[setting])
	if err != nil {
		return fmt.Errorf("reading the durability settings: %w", err)
	}
	var errs []error
	for _, s := range settings {
		if d := durable[s.Name]; !slices.Contains(d.accepted, s.Setting) {
			errs = append(errs, fmt.Errorf("the database server has %s = %s: %s; %s", s.Name, s.Setting, d.why, d.mend))
		}
	}
	return errors.Join(errs...)
}
