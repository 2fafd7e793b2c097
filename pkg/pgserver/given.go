package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const selectVersion = `SELECT current_setting('server_version_num'), current_setting('server_version')`

// useURL checks a given server once, so that a wrong URL is told at the start and not by the first query.
func useURL(ctx context.Context, o Options) (*Server, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The text of a parse error repeats the URL, and with it the password.
		return nil, errors.New("the database URL is not a URL: write it as postgres://user:password@host:5432/database")
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, o.URL)
	if err != nil {
		return nil, fmt.Errorf("connecting to the given database server %s: %w", u.Redacted(), err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only the answer matters

	var num, version string
	if err := conn.QueryRow(ctx, selectVersion).Scan(&num, &version); err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", u.Redacted(), err)
	}
	version, _, _ = strings.Cut(version, " ") // packagers append their own version
	n, err := strconv.Atoi(num)
	if err != nil {
		return nil, fmt.Errorf("reading server_version_num: %w", err)
	}
	if n/10000 < MinMajor {
		return nil, fmt.Errorf("the given server %s is PostgreSQL %s: %d or later is needed", u.Redacted(), version, MinMajor)
	}
	return &Server{base: u, log: o.Log, source: "the given server " + u.Redacted(), version: version}, nil
}
