package notification_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"recourse.dev/services/notification"
)

func TestNext_answers_every_finding(t *testing.T) {
	t.Parallel()
	for _, found := range notification.Findings() {
		fresh, lost := notification.Next(found, 0), notification.Next(found, 1)
		require.Contains(t, notification.States(), fresh, found)
		require.Contains(t, notification.States(), lost, found)
		// Once an answer was lost, no state may say that the mail stayed here.
		require.NotContains(t, []notification.State{
			notification.Queued, notification.Suppressed, notification.Bounced, notification.Undeliverable,
		}, lost, found)
	}
	for _, state := range notification.States() {
		final := state != notification.Queued && state != notification.InDoubt
		require.Equal(t, final && state != notification.Sent, notification.RefusalOf(state) != "", state)
	}
}

func TestNotificationID(t *testing.T) {
	t.Parallel()
	saga := uuid.Must(uuid.NewV7())
	id := notification.NotificationID(saga, "a:send_confirmation:1")
	require.Equal(t, id, notification.NotificationID(saga, "a:send_confirmation:1"), "the same after a crash")
	require.NotEqual(t, id, notification.NotificationID(saga, "a:send_confirmation:2"))
	require.Equal(t, uuid.Version(8), id.Version())
	require.Equal(t, saga[:6], id[:6], "in the order of time")
	require.Equal(t, id.String()+"@shop.example", notification.MessageID(id, "shop.example"))
}

func TestCheckEmail(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"ada@example.com", "a.b+c@sub.example.co.uk", "x@localhost"} {
		require.Empty(t, notification.CheckEmail(good))
	}
	for _, bad := range []string{
		"", "ada", "@example.com", "ada@", "a b@example.com", "Ada <ada@example.com>", "ada@example.com, eve@example.com",
		"ada@example.com\n", "ada@exam\x00ple.com", strings.Repeat("a", 65) + "@example.com",
		"a@" + strings.Repeat("b.", 130) + "com",
	} {
		require.NotEmpty(t, notification.CheckEmail(bad), "%q", bad)
	}
}

func TestPickLocale(t *testing.T) {
	t.Parallel()
	have := func(locales string) func(string) bool {
		return func(l string) bool { return l != "" && strings.Contains(locales, l) }
	}
	for tag, want := range map[string]string{"de": "de", "de-AT": "de", "DE_at": "de", "fr": "en", "": "en", "-": "en"} {
		got, ok := notification.PickLocale(tag, have("de en"))
		require.True(t, ok)
		require.Equal(t, want, got, tag)
	}
	_, ok := notification.PickLocale("fr", have("de"))
	require.False(t, ok)
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if line := notification.OneLine(rapid.String().Draw(t, "text")); strings.ContainsAny(line, "\x00\r\n\x7f") {
			t.Fatalf("%q is more than a line", line)
		}
	})
}
