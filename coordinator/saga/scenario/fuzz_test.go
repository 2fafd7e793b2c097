package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/saga"
	"recourse.dev/coordinator/saga/scenario"
)

// FuzzScenario plays arbitrary text as a scenario file: every line is played or refused with a reason, the saga stays
// one whose words are known, and the same text tells the same story again.
func FuzzScenario(f *testing.F) {
	files, err := filepath.Glob("../testdata/*")
	require.NoError(f, err)
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add("define\na compensatable p\nb pivot q outside\nc retriable r optional\n\naccept\nreply a done\ntick 1h\ncancel\n")
	f.Add("define\na compensatable p give_up=0 | a pivot q consumes=a\n\naccept")
	f.Add("reply a done\ntick -1s\nretry\nsettle x\nshow")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4000 || strings.Count(text, "|") > 8 {
			t.Skip("long stories are no better")
		}
		require.Equal(t, tell(t, text), tell(t, text))
	})
}

// tell plays what stands in a text, and is everything that was said.
func tell(t *testing.T, text string) string {
	t.Helper()
	var (
		player scenario.Player
		story  strings.Builder
	)
	for _, block := range strings.Split(text, "\n\n") {
		head, input, _ := strings.Cut(block, "\n")
		words := strings.Fields(head)
		if len(words) == 0 {
			continue
		}
		command := scenario.Command{Name: words[0], Input: input}
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			command.Args = append(command.Args, scenario.Arg{Key: key, Value: value})
		}
		said, err := player.Play(command)
		if err != nil {
			said = err.Error()
			require.NotEmpty(t, said)
		}
		story.WriteString(said)
		require.NotEmpty(t, player.Saga().State.String())
		for _, step := range player.Saga().Steps {
			require.NotEmpty(t, step.State.String())
		}
		if player.Saga().State == saga.Compensated {
			require.NotContains(t, said, "=held")
		}
	}
	return story.String()
}
