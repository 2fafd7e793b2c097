package system_test

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/kafka/embedded"
	"recourse.dev/pkg/pgserver"
	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/standalone/stack"
)

func TestOutage_Database(t *testing.T) {
	t.Parallel()
	server := pgserver.Options{DataDir: filepath.Join(pgtest.Dir(t), "pg")}
	db, err := pgserver.Start(t.Context(), server)
	require.NoError(t, err)
	// After the stack, which is stopped first.
	t.Cleanup(func() { require.NoError(t, db.Stop(context.Background())) })
	o := options(t)
	o.DatabaseURL = db.URL("postgres")
	withPatience(&o)
	p := boot(t, o)
	p.sell("SKU-MUG", 1000)

	want := p.variety(10)
	require.NoError(t, db.Stop(t.Context()))
	refused := mug(nil)
	p.refuses(refused)
	status, body := p.call(http.MethodGet, p.system.Coordinator+"/v1/orders", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, status, "%s", body)
	for _, name := range []string{stack.Coordinator, stack.Inventory, stack.Payment, stack.Shipping, stack.Notification} {
		status, body := p.call(http.MethodGet, p.URL(name)+"/readyz?verbose", "", nil)
		require.Equal(t, http.StatusServiceUnavailable, status, "%s: %s", name, body)
		require.Contains(t, string(body), "database")
	}

	base, err := url.Parse(o.DatabaseURL)
	require.NoError(t, err)
	server.Port, err = strconv.Atoi(base.Port())
	require.NoError(t, err)
	db, err = pgserver.Start(t.Context(), server)
	require.NoError(t, err)
	want[p.accepts(refused)] = "completed"
	p.comeTo(want)
}

func TestOutage_Broker(t *testing.T) {
	t.Parallel()
	broker := newOutage(t, t.TempDir())
	o := options(t)
	o.DatabaseURL, o.Brokers = pgtest.URL(t, nil), broker.broker.Addrs()
	withPatience(&o)
	p := boot(t, o)
	p.sell("SKU-MUG", 1000)

	want := p.variety(10)
	broker.stop()
	// For a moment nobody can know that it is more than a pause: the orders are stored and wait.
	for id, outcome := range p.variety(5) {
		want[id] = outcome
	}
	refused := mug(nil)
	p.refuses(refused)

	broker.start()
	want[p.accepts(refused)] = "completed"
	p.comeTo(want)
}

// The broker comes back without its log while everything else goes on running. What was in it is sent again.
func TestOutage_BrokerWiped(t *testing.T) {
	t.Parallel()
	broker := newOutage(t, "") // in memory: a restart wipes it
	o := options(t)
	o.DatabaseURL, o.Brokers = pgtest.URL(t, nil), broker.broker.Addrs()
	withPatience(&o)
	p := boot(t, o)
	p.sell("SKU-MUG", 1000)

	want := p.variety(10)
	broker.stop()
	for id, outcome := range p.variety(5) {
		want[id] = outcome
	}
	broker.start()
	require.NoError(t, p.Migrate(t.Context()), "which makes the topics again")
	p.comeTo(want)
}

// A record that nobody can read is parked, and what stands behind it in its partition goes on.
func TestOutage_UnreadableRecords(t *testing.T) {
	t.Parallel()
	p := start(t, func(o *stack.Options) {
		withPatience(o)
		o.Partitions = 1
	})
	p.sell("SKU-MUG", 10)
	client, err := kgo.NewClient(kgo.SeedBrokers(p.Kafka().Brokers...))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	topics := p.Kafka().Topics()
	for _, row := range []struct {
		name, topic, reader, kind, reason string
	}{
		{"command of unknown type", topics.CommandTopic("inventory"), stack.Inventory, "recourse.inventory.v1.Nonsense", "unknown_type"},
		{"command without sense", topics.CommandTopic("payment"), stack.Payment, "recourse.payment.v1.AuthorizePayment", "undecodable"},
		{"reply without sense", topics.ReplyTopic("payment"), stack.Coordinator, "recourse.saga.v1.Reply", "undecodable"},
		{"reply on a command topic", topics.CommandTopic("shipping"), stack.Shipping, "recourse.saga.v1.Reply", "undecodable"},
	} {
		t.Run(row.name, func(t *testing.T) { //nolint:paralleltest // they share the dead letters of a service
			value := []byte("\xff\x00no protobuf " + row.name)
			bad := &kgo.Record{Topic: row.topic, Key: []byte("nobody"), Value: value, Headers: []kgo.RecordHeader{
				{Key: "content-type", Value: []byte("application/protobuf")},
				{Key: "ce_specversion", Value: []byte("1.0")},
				{Key: "ce_id", Value: []byte("1")},
				{Key: "ce_time", Value: []byte("2026-01-02T03:04:05Z")},
				{Key: "ce_subject", Value: []byte("nobody")},
				{Key: "ce_source", Value: []byte("test")},
				{Key: "ce_type", Value: []byte(row.kind)},
				{Key: "x-evidence", Value: []byte("kept")},
			}}
			require.NoError(t, client.ProduceSync(t.Context(), bad).FirstErr())
			require.Equal(t, "completed", outcome(p.until(p.submit(mug(nil)), "to end", ended)))

			shown := p.letters(row.reader)
			require.Len(t, shown, 1)
			require.Equal(t, row.topic, shown[0].Topic)
			require.Equal(t, row.reason, string(shown[0].Reason), shown[0].Error)
			require.NotEmpty(t, shown[0].Error)
			kept, _, err := deadletter.List(t.Context(), pgtest.Pool(t, p.DatabaseURL(row.reader)), uuid.Nil, 10)
			require.NoError(t, err)
			require.Equal(t, value, kept[0].Value)
			require.Contains(t, kept[0].Headers, deadletter.Header{Key: "x-evidence", Value: []byte("kept")})
		})
	}
	p.addsUp(4)
}

// A layout that would break the order of an order's records is refused, with the setting's name.
func TestStart_OtherTopicLayoutRefused(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for _, name := range []string{stack.Coordinator, stack.Inventory} {
		require.NoError(t, p.Halt(t.Context(), name))
		err := p.Restart(t.Context(), name, "KAFKA_PARTITIONS=7")
		require.ErrorContains(t, err, "KAFKA_PARTITIONS=7")
		require.ErrorContains(t, err, "has 4 partitions")
		require.NoError(t, p.Restart(t.Context(), name))
	}
}

// outage is an embedded broker that can be away for a while.
type outage struct {
	t       *testing.T
	options embedded.Options
	broker  *embedded.Broker
}

func newOutage(t *testing.T, dataDir string) *outage {
	t.Helper()
	b := &outage{t: t, options: embedded.Options{DataDir: dataDir, Partitions: 4}}
	b.start()
	b.options.Addr = b.broker.Addrs()[0]
	// After the stack, which is stopped first.
	t.Cleanup(b.stop)
	return b
}

func (b *outage) start() {
	b.t.Helper()
	var err error
	b.broker, err = embedded.Start(b.options)
	require.NoError(b.t, err)
}

func (b *outage) stop() { b.broker.Close() }

// variety submits orders of several kinds and says what they will come to.
func (p *platform) variety(n int) map[string]string {
	p.t.Helper()
	want := map[string]string{}
	for i := range n {
		kind := []purchase{
			{shape: nil, outcomes: []string{"completed"}},
			{shape: token("tok_declined"), outcomes: []string{"cancelled card_declined"}},
			{shape: func(o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" }, outcomes: []string{"cancelled address_not_served"}},
			{shape: token("tok_slow"), outcomes: []string{"completed"}},
		}[i%4]
		want[p.submit(mug(kind.shape))] = kind.outcomes[0]
	}
	return want
}

// refuses: the intake says 503 and when to come again.
func (p *platform) refuses(o coordinatorapi.NewOrder) {
	p.t.Helper()
	require.EventuallyWithT(p.t, func(c *collect) {
		a, err := p.ask(http.MethodPost, p.system.Coordinator+"/v1/orders", o.Reference, o)
		require.NoError(c, err)
		require.Equal(c, http.StatusServiceUnavailable, a.status, "%s", a.body)
		require.Equal(c, "application/problem+json", a.header.Get("Content-Type"))
		after, err := strconv.Atoi(a.header.Get("Retry-After"))
		require.NoError(c, err)
		require.Positive(c, after)
	}, 30*time.Second, 100*time.Millisecond)
}

// accepts repeats the submission until it is taken.
func (p *platform) accepts(o coordinatorapi.NewOrder) (id string) {
	p.t.Helper()
	require.EventuallyWithT(p.t, func(c *collect) {
		r := p.place(o.Reference, o)
		require.NoError(c, r.err)
		require.Equal(c, http.StatusAccepted, r.status, "%s", r.body)
		id = r.id
	}, 30*time.Second, 100*time.Millisecond)
	return id
}

// comeTo waits for the orders' ends; then everything adds up and nothing is parked.
func (p *platform) comeTo(want map[string]string) {
	p.t.Helper()
	for id, expected := range want {
		require.Equal(p.t, expected, outcome(p.until(id, "to end", ended)), id)
	}
	p.addsUp(len(want))
	p.nothingParked()
}
