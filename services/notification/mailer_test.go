package notification_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/notification"
)

func aMail() notification.Mail {
	return notification.Mail{
		MessageID: "1@shop.example", OrderID: "o-1", To: "ada@example.com", Name: "Ada \"Countess\" Lovelace",
		Subject: "Your order is best\u00e4tigt", Text: "Hello\n.\nWorld", HTML: "<p>Hello</p>", Date: time.Unix(1e9, 0),
	}
}

func TestSMTPMailer_Send(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault fault
		want  notification.Delivery
		mails int
	}{
		{"", notification.Accepted{}, 1},
		{dropAtMail, notification.NotSent{}, 0},
		{dropAtRcpt, notification.NotSent{}, 0},
		{rcptRefused, notification.Rejected{Code: 550}, 0},
		{rcptLater, notification.NotSent{Code: 451}, 0},
		{dataRefused, notification.Rejected{Code: 554}, 0},
		{dataLater, notification.NotSent{Code: 451}, 0},
		{dropAfterData, notification.Unknown{}, 1},
		{dropInData, notification.Unknown{}, 0},
		{silent, notification.Unknown{}, 1},
	}
	for _, tt := range tests {
		t.Run(string("fault_"+tt.fault), func(t *testing.T) {
			t.Parallel()
			s := newMailServer(t)
			s.fail(tt.fault)
			got := s.mailer(t, 500*time.Millisecond).Send(t.Context(), aMail())
			switch d := got.(type) {
			case notification.Accepted:
				d.Detail, got = "", notification.Accepted{}
			case notification.Rejected:
				require.NotEmpty(t, d.Detail)
				got = notification.Rejected{Code: d.Code}
			case notification.NotSent:
				require.NotEmpty(t, d.Detail)
				got = notification.NotSent{Code: d.Code}
			case notification.Unknown:
				require.NotEmpty(t, d.Detail)
				got = notification.Unknown{}
			}
			require.Equal(t, tt.want, got)
			require.Len(t, s.got(), tt.mails)
		})
	}
}

func TestSMTPMailer_Send_content(t *testing.T) {
	t.Parallel()
	s := newMailServer(t)
	require.IsType(t, notification.Accepted{}, s.mailer(t, 5*time.Second).Send(t.Context(), aMail()))
	got := s.got()[0]
	require.Equal(t, "ada@example.com", got.To)
	require.Equal(t, "<1@shop.example>", got.MessageID)
	require.Equal(t, "o-1", got.Order)
	require.Equal(t, "=?UTF-8?q?Your_order_is_best=C3=A4tigt?=", got.Subject)
	require.Contains(t, got.Raw, "multipart/alternative")
	require.Contains(t, got.Raw, "Date: Sun, 09 Sep 2001")
}

func TestSMTPMailer_Send_one_conversation(t *testing.T) {
	t.Parallel()
	s := newMailServer(t)
	m := s.mailer(t, 5*time.Second)
	for range 3 {
		require.IsType(t, notification.Accepted{}, m.Send(t.Context(), aMail()))
	}
	began, open := s.talks()
	require.Equal(t, []int{1, 1}, []int{began, open})
	require.Len(t, s.got(), 3)

	// The server ends it between two mails: the next one goes out in another.
	s.hangUp()
	require.IsType(t, notification.Accepted{}, m.Send(t.Context(), aMail()))
	began, _ = s.talks()
	require.Equal(t, 2, began)
	require.Len(t, s.got(), 4, "and once")

	m.Close()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, open := s.talks()
		require.Zero(c, open)
	}, 5*time.Second, 5*time.Millisecond)
	require.IsType(t, notification.Accepted{}, m.Send(t.Context(), aMail()), "one of its own")
	began, _ = s.talks()
	require.Equal(t, 3, began)
}

// Only what failed before the sender was taken is tried again in a fresh conversation: a mail may be there otherwise.
func TestSMTPMailer_Send_fails_in_a_kept_conversation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault fault
		want  notification.Delivery
		mails int
	}{
		{dropAtMail, notification.Accepted{}, 2},
		{dropAtRcpt, notification.NotSent{}, 1},
		{rcptRefused, notification.Rejected{}, 1},
		{dropAfterData, notification.Unknown{}, 2},
		{dropInData, notification.Unknown{}, 1},
	}
	for _, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			s := newMailServer(t)
			m := s.mailer(t, 5*time.Second)
			require.IsType(t, notification.Accepted{}, m.Send(t.Context(), aMail()))
			s.failOpen(tt.fault)
			require.IsType(t, tt.want, m.Send(t.Context(), aMail()))
			require.Len(t, s.got(), tt.mails)
		})
	}
}

// What went wrong in a conversation must not meet the next mail there.
func TestSMTPMailer_Send_ends_a_conversation_that_failed(t *testing.T) {
	t.Parallel()
	for _, fault := range []fault{rcptRefused, rcptLater, dataRefused, dropAfterData} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			s := newMailServer(t)
			m := s.mailer(t, 5*time.Second)
			s.fail(fault)
			require.NotEqual(t, notification.Accepted{}, m.Send(t.Context(), aMail()))
			require.IsType(t, notification.Accepted{}, m.Send(t.Context(), aMail()))
			began, _ := s.talks()
			require.Equal(t, 2, began)
		})
	}
}

func TestSMTPMailer_Send_not_there(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	s := &mailServer{addr: addr}
	require.IsType(t, notification.NotSent{}, s.mailer(t, time.Second).Send(t.Context(), aMail()))

	away := newMailServer(t)
	away.outage(true)
	require.IsType(t, notification.NotSent{}, away.mailer(t, time.Second).Send(t.Context(), aMail()))
}

func TestNewSMTPMailer_refuses(t *testing.T) {
	t.Parallel()
	good := notification.SMTPConfig{
		Addr: "127.0.0.1:25", From: "a@b.example", TLS: notification.TLSNone, Timeout: time.Second,
	}
	_, err := notification.NewSMTPMailer(good)
	require.NoError(t, err)
	tests := []struct {
		name   string
		change func(*notification.SMTPConfig)
		want   string
	}{
		{"no port", func(c *notification.SMTPConfig) { c.Addr = "mail.example" }, "SMTP_ADDR"},
		{"port of words", func(c *notification.SMTPConfig) { c.Addr = "mail.example:smtp" }, "SMTP_ADDR"},
		{"no sender", func(c *notification.SMTPConfig) { c.From = "" }, "SMTP_FROM"},
		{"sender with a name", func(c *notification.SMTPConfig) { c.From = "A <a@b.example>" }, "SMTP_FROM"},
		{"TLS of our own", func(c *notification.SMTPConfig) { c.TLS = "yes" }, "SMTP_TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := good
			tt.change(&c)
			_, err := notification.NewSMTPMailer(c)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
