package mutants_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/mutants"
)

const root = "../../.."

// Cheap, and run with every test: a change that a mutant does not survive is noticed by who makes it.
func TestList_FitsTheCode(t *testing.T) {
	t.Parallel()
	list, err := mutants.Load(root)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(list), 30)
	for _, m := range list {
		_, err := m.Files(root)
		require.NoError(t, err)
		require.NotEmpty(t, m.Layer, m.Name)
		for _, k := range m.Killers {
			if k.Package != "" {
				require.DirExists(t, filepath.Join(root, k.Package), m.Name)
			}
		}
	}
}

const small = `## layer
# first
why: it is wrong
  in two ways
kill: db ./b TestB
kill: sim
in: a.go
-one
-two
+three
-four
+five
in: b.go
-six
`

func TestParse(t *testing.T) {
	t.Parallel()
	list, err := mutants.Parse(small)
	require.NoError(t, err)
	require.Equal(t, []mutants.Mutant{{
		Name: "first", Layer: "layer", Why: "it is wrong in two ways",
		Edits: []mutants.Edit{
			{File: "a.go", Old: "one\ntwo", New: "three"}, {File: "a.go", Old: "four", New: "five"}, {File: "b.go", Old: "six"},
		},
		Killers: []mutants.Killer{{Kind: mutants.Sim}, {Kind: mutants.DB, Package: "./b", Run: "TestB"}},
	}}, list)
}

func TestParse_Refuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, says string }{
		{"no mutant", "why: x", "line 1: there is no mutant yet"},
		{"no killer", "# a\nwhy: x\nin: f\n-a\n+b\n", "a needs why:, kill: and an edit"},
		{"unknown killer", "# a\nkill: luck\n", "line 2: killer \"luck\" is none of"},
		{"killer without tests", "# a\nkill: unit ./b\n", "want unit PACKAGE TESTS"},
		{"edit of no file", "# a\n-x\n\n", "line 3: an edit needs in:"},
		{"twice", small + "# first\n", "first stands there twice"},
		{"anything else", "# a\nhello\n", "begins with nothing that is known"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := mutants.Parse(tc.text)
			require.ErrorContains(t, err, tc.says)
		})
	}
}

func TestFiles_NameTheMutantAndTheMend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("one\ntwo two"), 0o600))
	for _, tc := range []struct{ name, old, says string }{
		{"gone", "three", "mutant m: the text of edit 1 occurs 0 times in a.go, not once"},
		{"twice", "two", "occurs 2 times"},
	} {
		m := mutants.Mutant{Name: "m", Edits: []mutants.Edit{{File: "a.go", Old: tc.old}}}
		_, err := m.Files(dir)
		require.ErrorContains(t, err, tc.says, tc.name)
		require.ErrorContains(t, err, "write the same defect against the new code", tc.name)
	}
	m := mutants.Mutant{Name: "m", Edits: []mutants.Edit{{File: "a.go", Old: "one", New: "1"}, {File: "a.go", Old: "1\n"}}}
	files, err := m.Files(dir)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a.go": "two two"}, files)
	m.Edits[0].File = "b.go"
	_, err = m.Files(dir)
	require.ErrorContains(t, err, "name the file that has the code now")
}

func TestSelect(t *testing.T) {
	t.Parallel()
	list, err := mutants.Parse(small + "# slow\nwhy: x\nkill: db ./b TestB\nin: f\n-a\n")
	require.NoError(t, err)
	quick, err := mutants.Select(list, mutants.Options{Quick: true})
	require.NoError(t, err)
	require.Len(t, quick, 1)
	require.Equal(t, []mutants.Killer{{Kind: mutants.Sim}}, quick[0].Killers)
	one, err := mutants.Select(list, mutants.Options{Only: "slow"})
	require.NoError(t, err)
	require.Len(t, one, 1)
	_, err = mutants.Select(list, mutants.Options{Only: "nobody"})
	require.ErrorContains(t, err, "--list shows them")
}
