package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/sandbox"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

type line struct {
	Number int `json:"number"`
}

// open opens a journal and returns the numbers that were in it.
func open(t *testing.T, path string) (*sandbox.Journal[line], []int) {
	t.Helper()
	var numbers []int
	journal, err := sandbox.OpenJournal(path, true, func(l line) error {
		numbers = append(numbers, l.Number)
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = journal.Close() })
	return journal, numbers
}

func TestJournal_appends_at_once(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "new", "journal")
	journal, numbers := open(t, path)
	require.Empty(t, numbers)
	wait := sync.WaitGroup{}
	for i := range 50 {
		wait.Go(func() {
			assert.NoError(t, journal.Append(line{Number: i}))
			assert.NoError(t, journal.Flush())
		})
	}
	wait.Wait()
	_, numbers = open(t, path) // no Close before: as after a kill
	require.Len(t, numbers, 50)
}

func TestJournal_cuts_off_a_torn_line(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "journal")
	torn := `{"number":1}` + "\n" + `{"number":2}` // whole JSON, but its newline is missing
	require.NoError(t, os.WriteFile(path, []byte(torn), 0o600))
	journal, numbers := open(t, path)
	require.Equal(t, []int{1}, numbers)
	require.NoError(t, journal.Append(line{Number: 3}))
	_, numbers = open(t, path)
	require.Equal(t, []int{1, 3}, numbers)
}

func TestJournal_refuses_a_broken_line(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.WriteFile(path, []byte("{\"number\":1}\n{\"num\n{\"number\":3}\n"), 0o600))
	_, err := sandbox.OpenJournal(path, false, func(line) error { return nil })
	require.ErrorContains(t, err, "line 2")
	require.ErrorContains(t, err, path)

	refused := errors.New("refused")
	_, err = sandbox.OpenJournal(path, false, func(line) error { return refused })
	require.ErrorIs(t, err, refused)
}

func TestJournal_without_a_path_forgets(t *testing.T) {
	t.Parallel()

	journal, _ := open(t, "")
	require.NoError(t, journal.Append(line{}))
	require.NoError(t, journal.Flush())
	require.NoError(t, journal.Close())
}

func TestJournal_append_after_close_is_an_error(t *testing.T) {
	t.Parallel()

	journal, _ := open(t, filepath.Join(t.TempDir(), "journal"))
	require.NoError(t, journal.Close())
	require.ErrorIs(t, journal.Append(line{}), os.ErrClosed)
}

func TestFaults_Set_refuses(t *testing.T) {
	t.Parallel()

	faults := sandbox.NewFaults(0, "buy")
	cases := []struct {
		name, says string
		rule       sandbox.Rule
	}{
		{"no route", "route", sandbox.Rule{Kind: sandbox.DropAfter}},
		{"unknown route", "buy", sandbox.Rule{Route: "sell", Kind: sandbox.DropAfter}},
		{"unknown kind", "kind", sandbox.Rule{Route: "buy", Kind: "explode"}},
		{"negative count", "count", sandbox.Rule{Route: "buy", Kind: sandbox.DropAfter, Count: -1}},
		{"probability", "probability", sandbox.Rule{Route: "buy", Kind: sandbox.DropAfter, Probability: 1.5}},
		{"no delay", "delay_ms", sandbox.Rule{Route: "buy", Kind: sandbox.Delay}},
		{"long delay", "delay_ms", sandbox.Rule{Route: "buy", Kind: sandbox.LateEffect, DelayMS: 1 << 60}},
		{"delay of a drop", "delay_ms", sandbox.Rule{Route: "buy", Kind: sandbox.DropAfter, DelayMS: 1}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, faults.Set(tc.rule), tc.says)
			require.Empty(t, faults.Rules())
		})
	}
}

func TestFaults_Take(t *testing.T) {
	t.Parallel()

	faults := sandbox.NewFaults(7, "buy", "get")
	require.NoError(t, faults.Set(sandbox.Rule{Route: "buy", Kind: sandbox.DropAfter, Count: 9}))
	require.NoError(t, faults.Set(sandbox.Rule{Route: "buy", Kind: sandbox.DropAfter, Count: 2}), "replaces")
	require.NoError(t, faults.Set(sandbox.Rule{Route: "*", Kind: sandbox.Delay, DelayMS: 5}))
	require.Equal(t, sandbox.Plan{Slow: 5 * time.Millisecond}, faults.Take("get"))
	require.Equal(t, sandbox.Plan{Slow: 5 * time.Millisecond, Drop: true}, faults.Take("buy"))
	require.True(t, faults.Take("buy").Drop)
	require.False(t, faults.Take("buy").Drop, "struck twice")
	faults.Clear()
	require.Zero(t, faults.Take("buy"))

	require.NoError(t, faults.Set(sandbox.Rule{Route: "buy", Kind: sandbox.Status429, Probability: 0.25}))
	struck := 0
	for range 4000 {
		if faults.Take("buy").Refuse == sandbox.Status429 {
			struck++
		}
	}
	require.InDelta(t, 1000, struck, 150)
}

// serve runs a server with one faulty route, and returns its address and a way to stop it.
func serve(t *testing.T, do func(*sandbox.Call) sandbox.Answer) (*sandbox.Provider, *sandbox.Server, func() error) {
	t.Helper()
	provider := sandbox.NewProvider(sandbox.ProviderConfig{
		Faults: sandbox.NewFaults(0, "buy"),
		Error:  func(status int) sandbox.Answer { return sandbox.JSON(status, map[string]int{"status": status}) },
	})
	log := slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	mux.Handle("POST /buy", provider.Handle("buy", do))
	provider.Admin(mux, nil, log)
	server := sandbox.NewServer("127.0.0.1:0", mux, log, provider.Stop)
	require.NoError(t, server.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { require.NoError(t, stop()) })
	return provider, server, stop
}

// TestProvider_drop is why a lost answer begins: with the connection merely closed, the transport would send the
// second request again by itself and the caller would see no fault.
func TestProvider_drop(t *testing.T) {
	t.Parallel()

	calls := 0
	provider, server, _ := serve(t, func(*sandbox.Call) sandbox.Answer {
		calls++
		return sandbox.JSON(http.StatusOK, nil)
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	post := func() error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+"/buy", strings.NewReader("{}"))
		require.NoError(t, err)
		request.Header.Set("Idempotency-Key", "key")
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return errors.Join(err, answer.Body.Close())
	}
	require.NoError(t, post())
	require.NoError(t, provider.Faults.Set(sandbox.Rule{Route: "buy", Kind: sandbox.DropAfter, Count: 1}))
	require.Error(t, post())
	require.Equal(t, 2, calls, "the second call was done once")
	require.NoError(t, post())
	require.NoError(t, provider.SetOutage(sandbox.Outage{On: true}))
	require.Error(t, post())
	require.Equal(t, 3, calls)
}

func TestServer_Run_finishes_what_is_in_hand(t *testing.T) {
	t.Parallel()

	begun := make(chan struct{})
	_, server, stop := serve(t, func(call *sandbox.Call) sandbox.Answer {
		close(begun)
		call.Plan.Late = time.Hour
		call.WaitLate()
		return sandbox.JSON(http.StatusOK, "done")
	})
	reserve, err := net.Dial("tcp", server.Addr()) // opened and never used
	require.NoError(t, err)
	defer reserve.Close()
	said := make(chan string, 1)
	go func() {
		answer, err := http.Post(server.URL()+"/buy", "application/json", nil)
		if !assert.NoError(t, err) {
			return
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		assert.NoError(t, err)
		said <- string(body)
	}()
	<-begun
	before := time.Now()
	require.NoError(t, stop())
	require.Equal(t, `"done"`, <-said)
	require.Less(t, time.Since(before), 4*time.Second, "neither the wait nor the unused connection held it up")
	http.DefaultClient.CloseIdleConnections()
}

func TestServer_Listen_names_the_address(t *testing.T) {
	t.Parallel()

	_, server, _ := serve(t, nil)
	taken := sandbox.NewServer(server.Addr(), nil, slog.New(slog.DiscardHandler), nil)
	require.ErrorContains(t, taken.Listen(), server.Addr())
	require.ErrorContains(t, taken.Run(t.Context()), server.Addr())
}

func ExampleFaults() {
	faults := sandbox.NewFaults(0, "buy")
	_ = faults.Set(sandbox.Rule{Route: "buy", Kind: sandbox.DropAfter, Count: 1})
	fmt.Println(faults.Take("buy").Drop, faults.Take("buy").Drop)
	// Output: true false
}
