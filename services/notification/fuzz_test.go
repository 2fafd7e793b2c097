package notification_test

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/migrations"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker/workertest"
	notificationv1 "recourse.dev/schemas/gen/recourse/notification/v1"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	"recourse.dev/services/notification"
)

// newTellers makes participants over one database whose mail server answers every line with what the pointer holds.
func newTellers(f *testing.F) (kit func(t *testing.T) *workertest.Kit, says *atomic.Pointer[string]) {
	f.Helper()
	says = &atomic.Pointer[string]{}
	refusal := "421 not now\r\n"
	says.Store(&refusal)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(f, err)
	var conversations sync.WaitGroup
	f.Cleanup(func() {
		require.NoError(f, listener.Close())
		conversations.Wait()
	})
	conversations.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conversations.Go(func() { answerLines(conn, *says.Load()) })
		}
	})
	pool := pgtest.DB(f, migrations.FS("notification"))
	mailer, err := notification.NewSMTPMailer(notification.SMTPConfig{
		Addr: listener.Addr().String(), From: "orders@shop.example", FromName: "Shop", TLS: notification.TLSNone,
		Timeout: 200 * time.Millisecond, MaxConns: 4,
	})
	require.NoError(f, err)
	h := notification.NewHandler(pool, mailer, time.Hour)
	f.Cleanup(h.Close)
	return func(t *testing.T) *workertest.Kit {
		t.Helper()
		return workertest.New(t, pool, h.Register)
	}, says
}

// answerLines says one line of the text after each that comes, the first one at once, and hangs up after the last.
func answerLines(conn net.Conn, text string) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return
	}
	lines := bufio.NewScanner(conn)
	for line := range strings.Lines(text) {
		if _, err := conn.Write([]byte(line)); err != nil || !lines.Scan() {
			return
		}
	}
}

// Whatever a command says, it is answered or parked.
func FuzzCommand(f *testing.F) {
	kit, _ := newTellers(f)
	workertest.FuzzCommands(f, kit, nil,
		confirm(),
		&notificationv1.SendConfirmation{Meta: workertest.Meta("send_confirmation")},
	)
}

// Whatever the mail server says, the mail is sent, refused, or stays a question that is asked again.
func FuzzServerAnswer(f *testing.F) {
	f.Add("220 hello\r\n250 hello\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 \x00taken\xff\r\n")
	f.Add("220 hello\r\n250-hello\r\n250 SIZE 1\r\n550 5.1.1 \x00nobody\xff\r\n")
	f.Add("220 hello\r\n250 hello\r\n250 ok\r\n451 \x00\r\n")
	f.Add("999 \r\n")
	f.Add("220-\n")
	f.Add("\x00\xff")
	newKit, says := newTellers(f)
	f.Fuzz(func(t *testing.T, text string) {
		says.Store(&text)
		reply := newKit(t).Do(t, confirm())
		require.NotContains(t, reply.GetInDoubt().GetReason(), "could not write down")
	})
}

// Whatever stands on the topic of order events, it is applied or parked, and the poll goes on.
func FuzzOrderEvent(f *testing.F) {
	const id = "0197a8d2-7b1e-7c3a-9f00-000000000001"
	for _, event := range []proto.Message{
		&orderv1.OrderAccepted{OrderId: id, Revision: 1}, &orderv1.OrderConfirmed{OrderId: id, Revision: 1 << 63},
		&orderv1.OrderCompleted{OrderId: "\x00", Revision: 2}, &orderv1.OrderCancelling{OrderId: id},
		&orderv1.OrderCancelled{OrderId: strings.ToUpper(id), Revision: 1 << 62}, &orderv1.OrderClosed{},
		&orderv1.OrderAttentionRaised{OrderId: "?"}, &orderv1.OrderAttentionCleared{},
	} {
		value, err := proto.Marshal(event)
		require.NoError(f, err)
		f.Add(string(event.ProtoReflect().Descriptor().FullName()), []byte(id), value)
	}
	pool := pgtest.DB(f, migrations.FS("notification"))
	offset := int64(0)
	f.Fuzz(func(t *testing.T, name string, key, value []byte) {
		offset++
		require.NoError(t, notification.FollowClaims(t.Context(), pool, []*kgo.Record{{
			Topic: "recourse.orders.events.v1", Key: key, Value: value, Offset: offset, Timestamp: time.Now(),
			Headers: []kgo.RecordHeader{
				{Key: message.HeaderSpecVersion, Value: []byte("1.0")},
				{Key: message.HeaderID, Value: []byte("id")},
				{Key: message.HeaderType, Value: []byte(name)},
				{Key: message.HeaderSource, Value: []byte("coordinator")},
				{Key: message.HeaderContentType, Value: []byte("application/protobuf")},
			},
		}}))
	})
}
