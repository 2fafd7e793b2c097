package migrations_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"recourse.dev/migrations"
)

// The standard library's testing only: this module has no dependencies, and every binary carries it.

var fileName = regexp.MustCompile(`^(\d{5})_[a-z0-9_]+\.sql$`)

func TestFS(t *testing.T) {
	t.Parallel()
	for _, service := range migrations.Services() {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			entries, err := fs.ReadDir(migrations.FS(service), ".")
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range entries {
				m := fileName.FindStringSubmatch(e.Name())
				if m == nil {
					t.Errorf("%s: want a name like 00002_reservations.sql", e.Name())
					continue
				}
				// Without gaps: two branches that both add a number then collide in review and not in production.
				if want := fmt.Sprintf("%05d", i+1); m[1] != want {
					t.Errorf("%s: want number %s", e.Name(), want)
				}
				text, err := fs.ReadFile(migrations.FS(service), e.Name())
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Contains(text, []byte("-- +goose Up")) {
					t.Errorf("%s: no -- +goose Up line", e.Name())
				}
			}
		})
	}
}

func TestFS_unknown_service(t *testing.T) {
	t.Parallel()
	defer func() {
		text := fmt.Sprint(recover())
		if !strings.Contains(text, `no folder "invoicing"`) || !strings.Contains(text, "inventory, ") {
			t.Fatalf("want a panic that names the folder asked for and those there are, have %q", text)
		}
	}()
	migrations.FS("invoicing")
}

// The worker SDK's tables are part of each participant's schema, in one wording.
func TestParticipant_tables_are_the_same_everywhere(t *testing.T) {
	t.Parallel()
	const name = "00001_participant.sql"
	want, err := fs.ReadFile(migrations.FS("inventory"), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range migrations.Services() {
		have, err := fs.ReadFile(migrations.FS(service), name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the coordinator is no participant
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, have) {
			t.Errorf("%s/%s differs from inventory's: change all of them together", service, name)
		}
	}
}
