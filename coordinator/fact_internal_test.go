package coordinator

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/saga"
)

// A fact that is published before an upgrade and again after it must have the same id.
func TestFactID_is_the_UUIDv5_of_its_name(t *testing.T) {
	t.Parallel()
	for _, revision := range []int64{0, 1, 42, math.MaxInt64, math.MinInt64} {
		for fact := saga.FactAccepted; fact <= saga.FactAttentionCleared; fact++ {
			for _, kind := range append(saga.AttentionKinds, saga.AttentionNone) {
				s, a := saga.Saga{ID: uuid.New(), Revision: revision}, saga.Action{Fact: fact, Attention: kind}
				name := fmt.Sprintf("%s/%d/%s/%d", s.ID, revision, fact, kind)
				require.Equal(t, uuid.NewSHA1(factSpace, []byte(name)), factID(&s, a), name)
			}
		}
	}
}
