package chaos

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// trialDefinition is read by coordinators of builds for tests; see coordinator/trial_on.go.
const trialDefinition = "RECOURSE_TRIAL_DEFINITION="

// definitionUnknown rolls out a coordinator whose new orders take another definition, and then one that has never heard
// of it: it must leave those orders alone, and work on the others. In the end the definition is known again.
func definitionUnknown(ctx context.Context, w *world, f Fault) (healing, error) {
	to := func(ctx context.Context, setting string) error {
		w.units[f.On].setEnv(trialDefinition + setting)
		_, err := roll(ctx, w, f)
		return err
	}
	known := func(ctx context.Context) error { return to(ctx, "known") }
	if err := to(ctx, "next"); err != nil {
		return known, err
	}
	if err := pause(ctx, f.lasts()); err != nil {
		return known, err
	}
	return known, to(ctx, "")
}

// clockStep moves a service's wall clock while it runs, and back.
func clockStep(_ context.Context, w *world, f Fault) (healing, error) {
	path := w.clock(f.On)
	if err := os.WriteFile(path, []byte(strings.TrimPrefix(f.How, "+")), 0o600); err != nil {
		return nil, fmt.Errorf("stepping the clock: %w", err)
	}
	return func(context.Context) error { return os.Remove(path) }, nil
}
