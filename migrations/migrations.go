// Package migrations holds the DDL of every service, as goose SQL files in one folder per service, embedded so that
// each binary carries its own schema.
//
// A file is named NNNNN_what.sql, is written once and never changed after a release, and must let the previous release
// run on: migrations go first, the new binary after. pkg/pg.Migrate applies them; pkg/pgtest builds test databases from
// them.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// The pattern takes whatever folders there are, and only SQL: a new service needs no line here.
//
//go:embed */*.sql
var files embed.FS

// FS returns the migrations of one service, its files at the root. The name is a constant of the calling service, so an
// unknown one is a bug there and panics.
func FS(service string) fs.FS {
	if !slices.Contains(Services(), service) {
		panic(fmt.Sprintf("migrations: no folder %q, there are: %s", service, strings.Join(Services(), ", ")))
	}
	sub, err := fs.Sub(files, service)
	if err != nil {
		panic(fmt.Sprintf("migrations: opening the folder %q: %v", service, err)) // only an invalid path gets here
	}
	return sub
}

// Services lists the folders, sorted.
func Services() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(fmt.Sprintf("migrations: reading the embedded folders: %v", err)) // embedded: cannot fail
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
