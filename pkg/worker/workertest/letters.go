package workertest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert" // for the type that EventuallyWithT hands in
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/deadletter"
)

// letter is a dead letter as an operator reads it, or a problem.
type letter struct {
	ID              string
	Topic           string
	Partition       int32
	Key             *string
	Value           []byte
	Headers         []struct{ Key, Value string }
	Reason          string
	RedrivenAt      *time.Time `json:"redriven_at"`
	DismissedAt     *time.Time `json:"dismissed_at"`
	DismissedBy     string     `json:"dismissed_by"`
	DismissedReason string     `json:"dismissed_reason"`
	Code            string
}

// DeadLetters plays the operator at the API of a service that runs and has parked nothing but the given record, which
// nobody can read: the record is redriven, parked again, and dismissed. Every service that parks keeps this contract.
func DeadLetters(t *testing.T, url string, parked *kgo.Record) {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	call := func(t require.TestingT, method, path, body string) (int, []byte) {
		request, err := http.NewRequest(method, url+path, bytes.NewReader([]byte(body))) //nolint:noctx // the client has a timeout
		require.NoError(t, err)
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		response, err := client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, text
	}
	list := func(t require.TestingT) []letter {
		status, text := call(t, http.MethodGet, "/v1/dead-letters", "")
		require.Equal(t, http.StatusOK, status, "%s", text)
		var page struct {
			Letters []letter `json:"dead_letters"`
		}
		require.NoError(t, json.Unmarshal(text, &page))
		return page.Letters
	}
	act := func(id, verb, body string, want int) letter {
		t.Helper()
		status, text := call(t, http.MethodPost, "/v1/dead-letters/"+id+"/"+verb, body)
		require.Equal(t, want, status, "%s: %s", verb, text)
		var l letter
		require.NoError(t, json.Unmarshal(text, &l))
		return l
	}
	requireOpen := func(gauge string) {
		t.Helper()
		_, text := call(t, http.MethodGet, "/metrics", "")
		require.Contains(t, string(text), "\nrecourse_dead_letters_open "+gauge+"\n")
	}
	const dismissal = `{"reason": "a test wrote it", "operator": "eve"}`

	var letters []letter
	await := func(n int) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			letters = list(c)
			require.Len(c, letters, n)
		}, 30*time.Second, 20*time.Millisecond)
		newest := letters[0]
		require.Equal(t, "undecodable", newest.Reason)
		require.Equal(t, parked.Topic, newest.Topic)
		require.Equal(t, parked.Partition, newest.Partition, "the same key goes to the same partition")
		require.Equal(t, string(parked.Key), *newest.Key)
		require.Equal(t, parked.Value, newest.Value)
	}
	await(1)
	first := letters[0].ID
	requireOpen("1")
	require.NotNil(t, act(first, "redrive", "", http.StatusOK).RedrivenAt)
	require.Equal(t, "already_redriven", act(first, "redrive", "", http.StatusConflict).Code)
	require.Equal(t, "already_redriven", act(first, "dismiss", dismissal, http.StatusConflict).Code)

	await(2)
	again := letters[0]
	require.NotNil(t, letters[1].RedrivenAt)
	require.Contains(t, again.Headers, struct{ Key, Value string }{deadletter.RedrivenHeader, first})
	require.Equal(t, "validation_failed", act(again.ID, "dismiss", `{"operator": "eve"}`, http.StatusUnprocessableEntity).Code)
	requireOpen("1")
	dismissed := act(again.ID, "dismiss", dismissal, http.StatusOK)
	require.NotNil(t, dismissed.DismissedAt)
	require.Equal(t, "eve", dismissed.DismissedBy)
	require.Equal(t, "a test wrote it", dismissed.DismissedReason)
	require.Equal(t, dismissed, list(t)[0])
	require.Equal(t, "already_dismissed", act(again.ID, "dismiss", dismissal, http.StatusConflict).Code)
	requireOpen("0")

	nobody := uuid.NewString()
	require.Equal(t, "dead_letter_not_found", act(nobody, "redrive", "", http.StatusNotFound).Code)
	require.Equal(t, "dead_letter_not_found", act(nobody, "dismiss", dismissal, http.StatusNotFound).Code)
}
