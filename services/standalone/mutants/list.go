package mutants

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind says what a killer is, in order of cost.
type Kind string

// The kinds.
const (
	Unit    Kind = "unit"
	Sim     Kind = "sim"
	Explore Kind = "explore"
	DB      Kind = "db"
)

var kinds = []Kind{Unit, Sim, Explore, DB}

// Killer is one thing that should find a mutant.
type Killer struct {
	Kind Kind
	// Package and Run select tests, as go test does; for Unit and DB.
	Package, Run string
}

// Edit replaces a text that must occur exactly once in a file.
type Edit struct {
	File     string
	Old, New string
}

// Mutant is one deliberate defect.
type Mutant struct {
	Name string
	// Layer is the heading under which it is listed.
	Layer string
	// Why says what is wrong about it.
	Why     string
	Edits   []Edit
	Killers []Killer
}

// Quick says whether something that needs no database should kill it.
func (m *Mutant) Quick() bool {
	return slices.ContainsFunc(m.Killers, func(k Killer) bool { return k.Kind != DB })
}

// ListFile is where the mutants are listed, from the root of the tree.
const ListFile = "services/standalone/mutants/testdata/mutants.txt"

// Load reads the list of the tree.
func Load(root string) ([]Mutant, error) {
	text, err := os.ReadFile(filepath.Join(root, ListFile))
	if err != nil {
		return nil, fmt.Errorf("reading the list of mutants (is %s the root of the source tree?): %w", root, err)
	}
	list, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ListFile, err)
	}
	return list, nil
}

// Parse reads a list. Its lines, which begin with
//
//	##      name a layer,
//	#       begin a mutant and name it,
//	why:    say what is wrong about it; lines that begin with two blanks go on,
//	kill:   name a killer: "unit PACKAGE TESTS", "sim", "explore" or "db PACKAGE TESTS",
//	in:     name the file of the edits that follow,
//	-       are the text to replace,
//	+       are what stands there instead; a text after them is another edit.
//
// The text to replace need not be whole lines: the first may begin, and the
// last end, in the middle of one.
func Parse(text string) ([]Mutant, error) {
	p := parser{}
	for n, line := range strings.Split(text, "\n") {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	return p.list, nil
}

type parser struct {
	list  []Mutant
	layer string
	file  string
	// old and new collect the lines of an edit.
	old, new []string
}

func (p *parser) line(line string) error {
	if layer, ok := strings.CutPrefix(line, "## "); ok {
		p.layer = layer
		return p.close()
	}
	if name, ok := strings.CutPrefix(line, "# "); ok {
		if err := p.close(); err != nil {
			return err
		}
		if slices.ContainsFunc(p.list, func(m Mutant) bool { return m.Name == name }) {
			return fmt.Errorf("%s stands there twice", name)
		}
		p.list, p.file = append(p.list, Mutant{Name: name, Layer: p.layer}), ""
		return nil
	}
	if strings.TrimSpace(line) == "" {
		return p.edit()
	}
	if len(p.list) == 0 {
		return errors.New("there is no mutant yet; begin one with # and its name")
	}
	m := &p.list[len(p.list)-1]
	switch text := line[1:]; {
	case line[0] == '-':
		if len(p.new) > 0 {
			if err := p.edit(); err != nil {
				return err
			}
		}
		p.old = append(p.old, text)
	case line[0] == '+':
		p.new = append(p.new, text)
	case strings.HasPrefix(line, "why: "):
		m.Why = line[len("why: "):]
	case strings.HasPrefix(line, "  ") && m.Why != "":
		m.Why += " " + strings.TrimSpace(line)
	case strings.HasPrefix(line, "in: "):
		err := p.edit()
		p.file = line[len("in: "):]
		return err
	case strings.HasPrefix(line, "kill: "):
		k, err := parseKiller(line[len("kill: "):])
		m.Killers = append(m.Killers, k)
		return err
	default:
		return fmt.Errorf("%q begins with nothing that is known", line)
	}
	return nil
}

func parseKiller(text string) (Killer, error) {
	words := strings.Fields(text)
	k := Killer{Kind: Kind(words[0])}
	if !slices.Contains(kinds, k.Kind) {
		return k, fmt.Errorf("killer %q is none of %q", words[0], kinds)
	}
	want := 1
	if k.Kind == Unit || k.Kind == DB {
		want = 3
	}
	if len(words) != want {
		return k, fmt.Errorf("killer %q: want unit PACKAGE TESTS, db PACKAGE TESTS, sim or explore", text)
	}
	if want == 3 {
		k.Package, k.Run = words[1], words[2]
	}
	return k, nil
}

// edit ends the edit at hand.
func (p *parser) edit() error {
	if len(p.old) == 0 && len(p.new) == 0 {
		return nil
	}
	if len(p.old) == 0 || p.file == "" {
		return errors.New("an edit needs in: and a text to replace before its +")
	}
	m := &p.list[len(p.list)-1]
	m.Edits = append(m.Edits, Edit{File: p.file, Old: strings.Join(p.old, "\n"), New: strings.Join(p.new, "\n")})
	p.old, p.new = nil, nil
	return nil
}

// close ends the mutant at hand.
func (p *parser) close() error {
	if err := p.edit(); err != nil || len(p.list) == 0 {
		return err
	}
	m := &p.list[len(p.list)-1]
	if m.Why == "" || len(m.Edits) == 0 || len(m.Killers) == 0 {
		return fmt.Errorf("%s needs why:, kill: and an edit", m.Name)
	}
	slices.SortStableFunc(m.Killers, func(a, b Killer) int {
		return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
	})
	return nil
}
