package order_test

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
)

var update = flag.Bool("update", false, "write the generated pages under docs instead of comparing them")

// TestGenerated_PagesAreCurrent compares the pages that are generated from the
// tables and the definitions. `task generate` writes them; read the difference
// as the change of behaviour that it is.
func TestGenerated_PagesAreCurrent(t *testing.T) {
	t.Parallel()
	d, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(t, err)

	golden(t, "../../docs/failure-atlas.md", `# Failure atlas

What follows when a step of an order ends otherwise than well. Each row was found by
playing the conversation through the decision function that production runs; the
integration suite plays each row again over the whole system and reads the simulators'
ledgers afterwards. This page is generated: change the tables or the definition.

## order.fulfilment

`+saga.AtlasMarkdown(d))

	golden(t, "../../docs/diagrams.md", "# Diagrams\n\nGenerated from the tables and the definitions.\n\n"+
		"## order.fulfilment\n\nSolid: forward. Dotted: backward.\n\n```mermaid\n"+saga.Mermaid(d)+"```\n\n"+
		"## A saga\n\n```mermaid\n"+saga.SagaDiagram()+"```\n\n"+
		"## A step\n\nRows of the table that change the state; those that keep evidence are not drawn.\n\n```mermaid\n"+
		saga.StepDiagram()+"```\n")
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s is not what the tables say; run `task generate`", path)
}
