package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"recourse.dev/pkg/pgserver"
	"recourse.dev/services/standalone/stack"
)

// stackFlags say where the servers come from; dev and demo share them.
type stackFlags struct {
	dataDir     string
	ephemeral   bool
	databaseURL string
	postgres    string
	brokers     []string
	verbose     bool
}

func (f *stackFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.dataDir, "data-dir", "", "keep databases, topics and ledgers here (default .recourse)")
	flags.StringVar(&f.databaseURL, "database-url", os.Getenv("RECOURSE_DATABASE_URL"),
		"administrator's URL of a PostgreSQL to use; default: local server binaries, else a download")
	flags.StringVar(&f.postgres, "postgres", "", `"newest" downloads the newest PostgreSQL even if there is a local one`)
	flags.StringSliceVar(&f.brokers, "kafka", nil, "brokers of a Kafka to use; default: one in this process")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log what the servers do")
}

// options turns the flags into a stack's options.
func (f *stackFlags) options(ctx context.Context, stderr io.Writer) (stack.Options, error) {
	level := slog.LevelError
	if f.verbose {
		level = slog.LevelInfo
	}
	o := stack.Options{
		DatabaseURL: f.databaseURL, PostgresVersion: f.postgres, Brokers: f.brokers, Ephemeral: f.ephemeral,
		Log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	}
	if err := checkBrokers(ctx, f.brokers); err != nil {
		return o, err
	}
	if f.postgres != "" && f.postgres != pgserver.Newest {
		return o, fmt.Errorf(`--postgres %q: leave it out, or say "newest"`, f.postgres)
	}
	if f.ephemeral {
		if f.dataDir != "" {
			return o, errors.New("--ephemeral keeps nothing, so --data-dir makes no sense with it; leave one of them out")
		}
		dir, err := os.MkdirTemp("", "recourse-")
		if err != nil {
			return o, fmt.Errorf("making a temporary data directory: %w", err)
		}
		o.DataDir = dir
		return o, os.Chmod(dir, 0o755) //nolint:gosec // the database's unprivileged user must reach its own folder
	}
	dir := f.dataDir
	if dir == "" {
		dir = ".recourse"
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return o, fmt.Errorf("finding the data directory %s: %w", dir, err)
	}
	o.DataDir = abs
	return o, nil
}

// stopStack stops with a deadline of its own: the one that asked to stop has ended.
func stopStack(ctx context.Context, s *stack.Stack) error {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 45*time.Second)
	defer cancel()
	return s.Stop(stopping)
}
