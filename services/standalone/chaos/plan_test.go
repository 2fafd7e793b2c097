package chaos_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/chaos"
)

func TestNewPlan_same_seed_same_plan(t *testing.T) {
	t.Parallel()
	a, b := chaos.NewPlan(7, 20_000, 160), chaos.NewPlan(7, 20_000, 160)
	require.Equal(t, a, b)
	for n := range 500 {
		require.Equal(t, a.Draw(n), b.Draw(n))
	}
	require.NotEqual(t, a.Faults, chaos.NewPlan(8, 20_000, 160).Faults)
}

func TestNewPlan_every_kind_occurs(t *testing.T) {
	t.Parallel()
	kinds := chaos.Kinds()
	require.GreaterOrEqual(t, len(kinds), 24)
	for seed := range uint64(20) {
		p := chaos.NewPlan(seed, 20_000, 160)
		require.NoError(t, p.Check())
		seen, after := map[string]int{}, 0
		for _, f := range p.Faults {
			seen[f.Kind]++
			require.GreaterOrEqual(t, f.After, after)
			after = f.After
		}
		require.Less(t, after, p.Sagas)
		for _, kind := range kinds {
			require.GreaterOrEqual(t, seen[kind], 160/len(kinds), kind)
		}
	}
	orders := map[string]int{}
	p := chaos.NewPlan(1, 2_000, 0)
	for n := range p.Sagas {
		orders[p.Draw(n)]++
	}
	for _, share := range p.Mix {
		require.Positive(t, orders[share.Kind], share.Kind)
	}
}

func TestReadPlan_as_written(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plan.json")
	p := chaos.PlanForMinutes(3, 2)
	require.NoError(t, p.Write(path))
	read, err := chaos.ReadPlan(path)
	require.NoError(t, err)
	require.Equal(t, p, read)
}

func TestReadPlan_refuses(t *testing.T) {
	t.Parallel()
	const sound = `{"version":1,"seed":1,"sagas":10,"rate":5,"shops":2,"mix":[{"kind":"happy","parts":1}],` +
		`"faults":[FAULT]}`
	fault := func(f string) string { return strings.Replace(sound, "FAULT", f, 1) }
	for _, c := range []struct{ name, content, want string }{
		{"no JSON", "sagas: 5", "it is no plan"},
		{"unknown field", `{"version":1,"speed":5}`, "it is no plan"},
		{"something after it", fault("") + "{}", "something follows the plan"},
		{"another version", strings.Replace(fault(""), `"version":1`, `"version":9`, 1), "version 9 is not known"},
		{"no orders", strings.Replace(fault(""), `"sagas":10`, `"sagas":0`, 1), "sagas 0: want 1"},
		{"no rate", strings.Replace(fault(""), `"rate":5`, `"rate":0`, 1), "rate 0: want"},
		{"no shops", strings.Replace(fault(""), `"shops":2`, `"shops":0`, 1), "shops 0: want"},
		{"unknown order", strings.Replace(fault(""), "happy", "odd", 1), `"odd": no such kind of order`},
		{"empty mix", strings.Replace(fault(""), `"parts":1`, `"parts":0`, 1), "mix: it is empty"},
		{"unknown fault", fault(`{"kind":"flood","after":1,"for_ms":1}`), `fault 1: kind "flood" is not known`},
		{"unknown component", fault(`{"kind":"kill","on":"moon","after":1,"for_ms":1}`), `kill on "moon": want one of`},
		{"component missing", fault(`{"kind":"kill","after":1,"for_ms":1}`), `kill on "": want one of`},
		{"unknown variant", fault(`{"kind":"provider_slow","on":"gatewaysim","how":"x","after":1,"for_ms":1}`), `in the way "x"`},
		{"endless", fault(`{"kind":"broker_kill","after":1,"for_ms":99999999}`), "at most 600000 ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "plan.json")
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
			_, err := chaos.ReadPlan(path)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	_, err := chaos.ReadPlan(filepath.Join(t.TempDir(), "none.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
