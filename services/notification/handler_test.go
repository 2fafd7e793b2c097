package notification_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	notificationv1 "recourse.dev/schemas/gen/recourse/notification/v1"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/notification"
)

// bundle is the participant over an SMTP server.
type bundle struct {
	*workertest.Kit
	server *mailServer
	pool   *pgxpool.Pool
}

func setup(t *testing.T, giveUpAfter time.Duration) *bundle {
	t.Helper()
	pool := pgtest.DB(t, migrations.FS("notification"))
	server := newMailServer(t)
	h := notification.NewHandler(pool, server.mailer(t, 5*time.Second), giveUpAfter)
	t.Cleanup(h.Close)
	kit := workertest.New(t, pool, h.Register, func(c *worker.Config) {
		c.MaxCalls, c.CallTimeout = 16, 20*time.Second
	})
	return &bundle{kit, server, pool}
}

func patient(t *testing.T) *bundle { return setup(t, time.Hour) }

func confirmFor(meta *sagav1.CommandMeta) *notificationv1.SendConfirmation {
	return &notificationv1.SendConfirmation{
		Meta: meta, Email: "ada@example.com", Name: "Ada Lovelace", Locale: "en-GB", Reference: "R-1",
		Lines: []*orderv1.Line{
			{LineId: "1", Sku: "MUG", Quantity: 2, UnitPriceMinor: 1250, Name: "Mug <blue>"},
			{LineId: "2", Sku: "TEE", Quantity: 1, UnitPriceMinor: 1999},
		},
		Total: &orderv1.Money{Minor: 4999, Currency: "EUR"}, TrackingNumber: "SIM1", Carrier: "Simpost",
	}
}

func confirm() *notificationv1.SendConfirmation {
	return confirmFor(workertest.Meta("send_confirmation"))
}

const stateSQL = `
SELECT n.state || coalesce(' ' || string_agg(coalesce(a.outcome, 'open'), ',' ORDER BY a.attempt_no)
    FILTER (WHERE a.attempt_no IS NOT NULL), '')
FROM notification n
LEFT JOIN delivery_attempt a ON a.notification_id = n.notification_id
WHERE n.saga_id = $1
GROUP BY n.notification_id`

// state is what the rows of a saga's notification say, in one line.
func (b *bundle) state(t *testing.T, do *notificationv1.SendConfirmation) string {
	t.Helper()
	var state string
	err := b.pool.QueryRow(t.Context(), stateSQL, do.GetMeta().GetSagaId()).Scan(&state)
	if err == pgx.ErrNoRows { //nolint:errorlint // pgx returns it bare
		return "none"
	}
	require.NoError(t, err)
	return state
}

func (b *bundle) claim(t *testing.T, do *notificationv1.SendConfirmation, status notification.ClaimStatus) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `
		INSERT INTO order_claim (order_id, status, revision, updated_at)
		VALUES ($1, $2, 7, now())`, do.GetMeta().GetOrderId(), string(status))
	require.NoError(t, err)
}

// resolved asks until it is known what became of the mail, and returns that reply.
func (b *bundle) resolved(t *testing.T) *sagav1.Reply {
	t.Helper()
	for range 5 {
		for _, reply := range b.Resolve(t) {
			if reply.GetInDoubt() == nil {
				return reply
			}
		}
	}
	require.Fail(t, "still in doubt after five questions")
	return nil
}

func TestNotification_conforms(t *testing.T) {
	t.Parallel()
	servers := make(chan map[*workertest.Kit]*mailServer, 1)
	servers <- map[*workertest.Kit]*mailServer{}
	workertest.Conformance(t, workertest.Contract{
		Step: "send_confirmation",
		Kit: func(t *testing.T) *workertest.Kit {
			b := patient(t)
			all := <-servers
			all[b.Kit] = b.server
			servers <- all
			return b.Kit
		},
		Do: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input { return confirmFor(meta) },
		Refused: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			do := confirmFor(meta)
			do.Email = "nobody"
			return do
		},
		Effects: func(t *testing.T, kit *workertest.Kit) int {
			t.Helper()
			all := <-servers
			server := all[kit]
			servers <- all
			var sent int
			require.NoError(t, kit.Pool.QueryRow(t.Context(),
				`SELECT count(*) FROM notification WHERE state = 'sent'`).Scan(&sent))
			require.Equal(t, server.distinct(), sent, "mails at the server and sent by the service")
			return sent
		},
	})
}

func TestSendConfirmation_done(t *testing.T) {
	t.Parallel()
	b := patient(t)
	do := confirm()
	done := b.Do(t, do).GetDone()
	require.NotNil(t, done)
	id := done.GetHandles()["notification_id"]
	require.NoError(t, uuid.Validate(id))
	require.Equal(t, []string{"notification", "mail", id}, []string{
		done.GetEffects()[0].GetKind(), done.GetEffects()[0].GetUnit(), done.GetEffects()[0].GetHandle(),
	})
	require.Equal(t, "sent accepted", b.state(t, do))
	mails := b.server.got()
	require.Len(t, mails, 1)
	require.Equal(t, "ada@example.com", mails[0].To)
	require.Equal(t, "<"+id+"@shop.example>", mails[0].MessageID)
	require.Equal(t, do.GetMeta().GetOrderId(), mails[0].Order)
	require.Equal(t, "Your order R-1 is confirmed", mails[0].Subject)
	for _, text := range []string{
		"Hello Ada Lovelace", "2 x Mug <blue>  25.00 EUR", "1 x TEE  19.99 EUR", "49.99 EUR", "SIM1", "Mug &lt;blue&gt;",
	} {
		require.Contains(t, mails[0].Raw, text)
	}
}

func TestSendConfirmation_locale(t *testing.T) {
	t.Parallel()
	b := patient(t)
	for locale, subject := range map[string]string{
		"de-AT": "=?UTF-8?q?Ihre_Bestellung_R-1_ist_best=C3=A4tigt?=",
		"fr":    "Your order R-1 is confirmed",
		"":      "Your order R-1 is confirmed",
	} {
		do := confirm()
		do.Locale = locale
		require.NotNil(t, b.Do(t, do).GetDone())
		mails := b.server.got()
		require.Equal(t, subject, mails[len(mails)-1].Subject, "locale %q", locale)
	}
}

func TestSendConfirmation_on_the_way(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []fault
		// first is the rows after the first answer, code the refusal in the end; empty is done.
		first, last, code string
		mails             int
	}{
		{"lost once", []fault{dropAfterData}, "in_doubt unknown", "sent unknown,accepted", "", 2},
		{"lost in the content", []fault{dropInData}, "in_doubt unknown", "sent unknown,accepted", "", 1},
		{
			"lost twice",
			[]fault{dropAfterData, dropAfterData},
			"in_doubt unknown", "unknown unknown,unknown",
			"delivery_unknown", 2,
		},
		{
			"lost, then refused",
			[]fault{dropAfterData, rcptRefused},
			"in_doubt unknown", "unknown unknown,refused",
			"delivery_unknown", 1,
		},
		{
			"lost, not sent, accepted",
			[]fault{dropAfterData, dropAtMail},
			"in_doubt unknown",
			"sent unknown,not_sent,accepted", "", 2,
		},
		{"greylisted", []fault{rcptLater, rcptLater}, "queued not_sent", "sent not_sent,not_sent,accepted", "", 1},
		{"server's disk full", []fault{dataLater}, "queued not_sent", "sent not_sent,accepted", "", 1},
		{"dropped before the content", []fault{dropAtRcpt}, "queued not_sent", "sent not_sent,accepted", "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := patient(t)
			b.server.fail(tt.faults...)
			do := confirm()
			require.NotNil(t, b.Do(t, do).GetInDoubt())
			require.Equal(t, tt.first, b.state(t, do))
			reply := b.resolved(t)
			require.Equal(t, tt.code, reply.GetRefused().GetCode(), reply)
			require.Equal(t, tt.code == "", reply.GetDone() != nil, reply)
			require.Equal(t, tt.last, b.state(t, do))
			require.Len(t, b.server.got(), tt.mails)
			require.LessOrEqual(t, b.server.distinct(), 1, "every try has the same Message-ID")
		})
	}
}

func TestSendConfirmation_refused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*notificationv1.SendConfirmation)
		fault  fault
		code   string
		state  string
	}{
		{"no mailbox", nil, rcptRefused, "bounced", "bounced refused"},
		{"spam", nil, dataRefused, "bounced", "bounced refused"},
		{"no address", func(c *notificationv1.SendConfirmation) { c.Email = "" }, "", "address_invalid", "none"},
		{
			"a name with it", func(c *notificationv1.SendConfirmation) { c.Email = "A <a@b.example>" }, "",
			"address_invalid", "none",
		},
		{
			"a header with it", func(c *notificationv1.SendConfirmation) { c.Email = "a@b.example\r\nBcc: c@d.example" }, "",
			"address_invalid", "none",
		},
		{"no currency", func(c *notificationv1.SendConfirmation) { c.Total = nil }, "", "content_invalid", "none"},
		{"price of the moon", func(c *notificationv1.SendConfirmation) {
			c.Lines[0].UnitPriceMinor, c.Lines[0].Quantity = 1<<62, 1<<62
		}, "", "content_invalid", "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := patient(t)
			if tt.fault != "" {
				b.server.fail(tt.fault)
			}
			do := confirm()
			if tt.change != nil {
				tt.change(do)
			}
			refused := b.Do(t, do).GetRefused()
			require.Equal(t, tt.code, refused.GetCode(), refused)
			require.NotEmpty(t, refused.GetDetail())
			require.Equal(t, tt.state, b.state(t, do))
			require.Empty(t, b.server.got())
		})
	}
}

func TestSendConfirmation_outage(t *testing.T) {
	t.Parallel()
	b := patient(t)
	b.server.outage(true)
	do := confirm()
	require.NotNil(t, b.Do(t, do).GetInDoubt())
	for range 4 {
		require.NotNil(t, b.Resolve(t)[0].GetInDoubt())
	}
	b.server.outage(false)
	require.NotNil(t, b.resolved(t).GetDone(), "what was never handed over may be tried as often as it takes")
	require.Len(t, b.server.got(), 1)
}

func TestSendConfirmation_given_up(t *testing.T) {
	t.Parallel()
	b := setup(t, time.Nanosecond)
	b.server.outage(true)
	do := confirm()
	require.Equal(t, "undeliverable", b.Do(t, do).GetRefused().GetCode())
	require.Equal(t, "undeliverable not_sent", b.state(t, do))

	b.server.outage(false)
	again := confirm()
	again.Meta.OrderId = do.GetMeta().GetOrderId()
	again.Meta.Generation = 2
	require.NotNil(t, b.Do(t, again).GetDone(), "what has not left may be sent by a new generation")
}

func TestSendConfirmation_suppressed(t *testing.T) {
	t.Parallel()
	for status, sent := range map[notification.ClaimStatus]bool{
		notification.ClaimAccepted: true, notification.ClaimConfirmed: true, notification.ClaimCompleted: true,
		notification.ClaimCancelling: false, notification.ClaimCancelled: false, notification.ClaimClosed: false,
	} {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			b := patient(t)
			do := confirm()
			b.claim(t, do, status)
			reply := b.Do(t, do)
			require.Equal(t, sent, reply.GetDone() != nil, reply)
			if !sent {
				require.Equal(t, "suppressed", reply.GetRefused().GetCode())
				require.Equal(t, "suppressed", b.state(t, do))
				require.Empty(t, b.server.got())
			}
		})
	}
}

// The claim is looked at before each try, not only when the command arrives.
func TestSendConfirmation_suppressed_between_tries(t *testing.T) {
	t.Parallel()
	b := patient(t)
	b.server.outage(true)
	do := confirm()
	require.NotNil(t, b.Do(t, do).GetInDoubt())
	b.server.outage(false)
	b.claim(t, do, notification.ClaimCancelling)
	require.Equal(t, "suppressed", b.resolved(t).GetRefused().GetCode())
	require.Empty(t, b.server.got())
}

// A process that dies around a try leaves a try that may have been delivered. There is one more, and no third.
func TestSendConfirmation_dies(t *testing.T) {
	t.Parallel()
	b := patient(t)
	do := confirm()
	require.True(t, b.Crash(t, crash.WorkerAfterCommit, do))
	require.Equal(t, "queued", b.state(t, do), "nothing was tried yet")
	require.NotNil(t, b.resolved(t).GetDone())

	second := confirm()
	require.True(t, b.Crash(t, crash.WorkerAfterCall, second))
	require.Equal(t, "queued open", b.state(t, second))
	require.NotNil(t, b.resolved(t).GetDone(), "one more try")
	require.Equal(t, "sent open,accepted", b.state(t, second))
	require.Len(t, b.server.got(), 3)
	require.Equal(t, 2, b.server.distinct())
}

// The process after it died around its try as well: two mails may have arrived, and nobody can tell.
func TestSendConfirmation_dies_twice(t *testing.T) {
	t.Parallel()
	b := patient(t)
	do := confirm()
	require.True(t, b.Crash(t, crash.WorkerAfterCall, do))
	_, err := b.pool.Exec(t.Context(), `
		INSERT INTO delivery_attempt (notification_id, attempt_no, sent_at)
		SELECT notification_id, attempt_no + 1, now()
		FROM delivery_attempt`)
	require.NoError(t, err)
	require.Equal(t, "delivery_unknown", b.resolved(t).GetRefused().GetCode())
	require.Equal(t, "unknown open,open", b.state(t, do))
	require.Len(t, b.server.got(), 1, "no third mail")
}

func TestSendConfirmation_one_of_an_order(t *testing.T) {
	t.Parallel()
	b := patient(t)
	first, second := confirm(), confirm()
	second.Meta.OrderId = first.GetMeta().GetOrderId()
	replies := b.Send(t, first, second)
	require.NotNil(t, replies[0].GetRetry(), "the second waits: %v", replies)
	done := b.Do(t, workertest.Again(t, second)).GetDone()
	require.NotNil(t, done)
	require.Equal(t, b.Do(t, workertest.Again(t, first)).GetDone().GetHandles(), done.GetHandles())
	require.Len(t, b.server.got(), 1)
}

func TestSendConfirmation_text_that_postgres_and_mail_refuse(t *testing.T) {
	t.Parallel()
	b := patient(t)
	do := confirm()
	do.Name, do.Reference = "Ada\x00\r\nBcc: eve@example.com", "R\x001\r\nBcc: eve@example.com"
	require.NotNil(t, b.Do(t, do).GetDone())
	mails := b.server.got()
	require.Len(t, mails, 1)
	require.NotContains(t, strings.ToLower(mails[0].Raw), "\nbcc:")
}

// How many answers are settled together is chance; what it takes is not.
func TestNotification_settling_statements_do_not_grow(t *testing.T) {
	t.Parallel()
	b := patient(t)
	var first []string
	for _, size := range []int{1, 10, 200} {
		dos := make([]worker.Input, size)
		for i := range dos {
			dos[i] = confirm()
		}
		_, err := b.Worker.Process(t.Context(), b.Records(t, dos...))
		require.NoError(t, err)
		for settled := 0; settled < size; {
			var counter pg.Counter
			replies, err := b.Worker.Settle(pg.WithCounter(t.Context(), &counter))
			require.NoError(t, err)
			settled += len(replies)
			if first == nil {
				first = counter.SQL()
			}
			require.Equal(t, first, counter.SQL(), "settling %d answers of %d", len(replies), size)
		}
	}
	require.Equal(t, 211, b.server.distinct())
}
