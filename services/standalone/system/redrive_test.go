package system_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert" // for the type that EventuallyWithT hands in
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	"recourse.dev/services/standalone/stack"
)

// A worker parks a command, because a fault of its own makes the command impossible. The fault is mended, the operator
// redrives the dead letter, and the order goes on to its end.
func TestRedrive_after_the_mend(t *testing.T) {
	t.Parallel()
	p := start(t, func(o *stack.Options) {
		// Nothing is sent again by itself: it is the operator who makes the order go on.
		o.Env = append(append([]string{}, o.Env...), "ANSWER_TIMEOUT=10m", "OUTSIDE_TIMEOUT=10m")
	})
	p.sell("SKU-MUG", 10)
	for _, row := range []struct{ worker, table string }{
		{stack.Inventory, "reservation"},
		{stack.Payment, "intent"},
		{stack.Shipping, "shipment"},
		{stack.Notification, "notification"},
	} {
		t.Run(row.worker, func(t *testing.T) { //nolint:paralleltest // an order passes through all of them
			pool := pgtest.Pool(t, p.DatabaseURL(row.worker))
			_, err := pool.Exec(t.Context(), fmt.Sprintf(`ALTER TABLE %s ADD CONSTRAINT fault CHECK (false) NOT VALID`, row.table))
			require.NoError(t, err)
			id := p.submit(mug(nil))
			require.EventuallyWithT(t, func(c *assert.CollectT) { require.Len(c, p.letters(row.worker), 1) }, p.patience, 50*time.Millisecond)
			letter := p.letters(row.worker)[0]
			require.Equal(t, "handler_refused", string(letter.Reason))
			require.Contains(t, letter.Error, "fault")
			require.Equal(t, id, *letter.Key, "the order's command")

			_, err = pool.Exec(t.Context(), fmt.Sprintf(`ALTER TABLE %s DROP CONSTRAINT fault`, row.table))
			require.NoError(t, err)
			p.must(http.MethodPost, p.URL(row.worker)+"/v1/dead-letters/"+letter.ID.String()+"/redrive", "", nil, nil)
			require.Equal(t, "completed", outcome(p.until(id, "to end", ended)))
			shown := p.letters(row.worker)
			require.Len(t, shown, 1, "nothing was parked again")
			require.NotNil(t, shown[0].RedrivenAt)
		})
	}
	p.addsUp(4)
}
