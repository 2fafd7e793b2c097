package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
)

const templatePrefix = "recourse_template_"

// build is one template, made once per process and, by the advisory lock, once per server.
type build struct {
	err  error
	name string
	once sync.Once
}

func (i *instance) template(ctx context.Context, migrations fs.FS) (string, error) {
	sum, err := hash(migrations)
	if err != nil {
		return "", err
	}
	entry, _ := i.templates.LoadOrStore(sum, &build{name: templatePrefix + hex.EncodeToString(sum[:8])})
	b := entry.(*build) //nolint:forcetypeassert // nothing else is stored
	b.once.Do(func() {
		b.err = i.build(context.WithoutCancel(ctx), b.name, sum, migrations)
	})
	return b.name, b.err
}

// hash covers names and contents, with lengths, so that moving a byte from one file to the next changes it.
func hash(migrations fs.FS) (sum [sha256.Size]byte, _ error) {
	h := sha256.New()
	err := fs.WalkDir(migrations, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%d %s %d ", len(path), path, len(text))
		h.Write(text)
		return nil
	})
	if err != nil {
		return sum, fmt.Errorf("reading the migration files: %w", err)
	}
	copy(sum[:], h.Sum(nil))
	return sum, nil
}

const (
	lockTemplate   = `SELECT pg_advisory_lock($1)`
	unlockTemplate = `SELECT pg_advisory_unlock($1)`
	selectTemplate = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`
)

// build works in a database of another name and renames it when it is whole, so that a name seen is a template to copy,
// even after a binary was killed in here.
func (i *instance) build(ctx context.Context, name string, sum [sha256.Size]byte, migrations fs.FS) (err error) {
	key := int64(binary.BigEndian.Uint64(sum[:8]))
	conn, err := i.admin.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("taking a connection: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, lockTemplate, key); err != nil {
		return fmt.Errorf("locking the template: %w", err)
	}
	defer func() {
		if _, uerr := conn.Exec(ctx, unlockTemplate, key); uerr != nil && err == nil {
			err = fmt.Errorf("unlocking the template: %w", uerr)
		}
	}()
	var exists bool
	if err := conn.QueryRow(ctx, selectTemplate, name).Scan(&exists); err != nil {
		return fmt.Errorf("looking for the template: %w", err)
	}
	if exists {
		return nil
	}
	half := name + "_build"
	if err := exec(ctx, conn,
		"DROP DATABASE IF EXISTS "+quote(half)+" WITH (FORCE)",
		"CREATE DATABASE "+quote(half),
	); err != nil {
		return err
	}
	if _, err := pg.MigrateURL(ctx, i.server.URL(half), migrations); err != nil {
		return err
	}
	return exec(ctx, conn,
		// A connection to a template, a monitor's say, would make every copy fail.
		"ALTER DATABASE "+quote(half)+" WITH ALLOW_CONNECTIONS false",
		"ALTER DATABASE "+quote(half)+" RENAME TO "+quote(name),
	)
}

func exec(ctx context.Context, conn *pgxpool.Conn, statements ...string) error {
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("running %s: %w", sql, err)
		}
	}
	return nil
}
