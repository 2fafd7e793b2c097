package coordinator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/order"
	"recourse.dev/migrations"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// system is a coordinator with everything around it: a database, a broker, and participants that answer as told.
type system struct {
	config coordinator.Config
	url    string
	world  *world
}

// newSystem makes a database and topics and starts participants; coordinators are started by the test.
func newSystem(t testing.TB, change ...func(*coordinator.Config)) *system {
	t.Helper()
	s := &system{url: pgtest.URL(t, migrations.FS("coordinator"))}
	s.config = coordinator.Config{
		Settings: service.Settings{HTTPAddr: "127.0.0.1:0", DrainTimeout: 15 * time.Second},
		Kafka:    kafkatest.Config(t), DatabaseURL: service.Secret(s.url),
		OrderDeadline: time.Minute, AnswerTimeout: answerTimeout(), OutsideTimeout: answerTimeout(),
		ResendMax: 200 * time.Millisecond, GiveUp: 5, ScanInterval: 500 * time.Millisecond,
	}
	for _, c := range change {
		c(&s.config)
	}
	require.NoError(t, coordinator.Migrate(t.Context(), s.config, kafkatest.Log(t)))
	s.world = newWorld(t, s.config.Kafka)
	return s
}

// node is a running coordinator.
type node struct {
	t    *testing.T
	base string
	stop func()
	spec *openapi3.T
	http *http.Client
}

func (s *system) start(t *testing.T) *node {
	t.Helper()
	return startNode(t, s.config)
}

func startNode(t *testing.T, config coordinator.Config, prepare ...func(*coordinator.Service)) *node {
	t.Helper()
	c, err := coordinator.New(t.Context(), config, kafkatest.Log(t))
	require.NoError(t, err)
	for _, p := range prepare {
		p(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	n := &node{t: t, base: "http://" + c.Addr(), spec: mustSpec(t), http: &http.Client{Transport: &http.Transport{}}}
	n.stop = sync.OnceFunc(func() {
		n.http.CloseIdleConnections()
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			t.Error("the coordinator did not stop")
		}
	})
	t.Cleanup(n.stop)
	require.EventuallyWithT(t, func(t *assertT) {
		response, err := n.http.Get(n.base + "/readyz?verbose")
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, string(body))
	}, 30*time.Second, 50*time.Millisecond)
	return n
}

func mustSpec(t *testing.T) *openapi3.T {
	t.Helper()
	spec, err := coordinatorapi.GetSpec()
	require.NoError(t, err)
	spec.OpenAPI = "3.0.3" // see pkg/httpserver: the library's own validator, which knows all that the document uses
	return spec
}

// answer is a response whose body was read and whose shape was checked against the API's description.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(a.Body, v), string(a.Body))
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), string(a.Body))
	var p struct{ Code string }
	a.into(t, &p)
	return p.Code
}

type headers map[string]string

func (n *node) call(method, path string, body any, h headers) answer {
	n.t.Helper()
	var reader io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(body)
	default:
		encoded, err := json.Marshal(body)
		require.NoError(n.t, err)
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(n.t.Context(), method, n.base+path, reader)
	require.NoError(n.t, err)
	if reader != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range h {
		request.Header.Set(name, value)
	}
	response, err := n.http.Do(request)
	require.NoError(n.t, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	require.NoError(n.t, err)
	a := answer{Status: response.StatusCode, Header: response.Header, Body: read}
	n.check(request, a)
	return a
}

var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

// check validates the answer against the API's description.
func (n *node) check(request *http.Request, a answer) {
	n.t.Helper()
	for path, item := range n.spec.Paths.Map() {
		pattern := "^" + pathParameter.ReplaceAllString(path, "[^/]+") + "$"
		operation := item.GetOperation(request.Method)
		if operation == nil || !regexp.MustCompile(pattern).MatchString(request.URL.Path) {
			continue
		}
		err := openapi3filter.ValidateResponse(request.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{
				Request: request,
				Route:   &routers.Route{Spec: n.spec, Path: path, PathItem: item, Method: request.Method, Operation: operation},
			},
			Status: a.Status, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)),
		})
		require.NoError(n.t, err, "%s %s answered %d %s", request.Method, request.URL.Path, a.Status, a.Body)
	}
}

// submit posts an order under a key and returns its receipt.
func (n *node) submit(key string, o map[string]any) coordinatorapi.OrderReceipt {
	n.t.Helper()
	a := n.call("POST", "/v1/orders", o, headers{"Idempotency-Key": key})
	require.Equal(n.t, http.StatusAccepted, a.Status, string(a.Body))
	var receipt coordinatorapi.OrderReceipt
	a.into(n.t, &receipt)
	return receipt
}

func (n *node) order(id uuid.UUID) coordinatorapi.Order {
	n.t.Helper()
	a := n.call("GET", "/v1/orders/"+id.String(), nil, nil)
	require.Equal(n.t, http.StatusOK, a.Status, string(a.Body))
	var o coordinatorapi.Order
	a.into(n.t, &o)
	return o
}

// answerTimeout is short, so that resends can be tested. A real broker takes a second until a new group reads.
func answerTimeout() time.Duration {
	if os.Getenv("KAFKA_BROKERS") != "" {
		return 4 * time.Second
	}
	return 300 * time.Millisecond
}

// awaitStatus waits until the order has the status.
func (n *node) awaitStatus(id uuid.UUID, status string) coordinatorapi.Order {
	n.t.Helper()
	var o coordinatorapi.Order
	require.EventuallyWithT(n.t, func(t *assertT) {
		o = n.order(id)
		require.Equal(t, status, string(o.Status), o.Explanation.Summary)
	}, 30*time.Second, 20*time.Millisecond)
	return o
}

// awaitEnd waits until the order has ended, one way or the other.
func (n *node) awaitEnd(id uuid.UUID) coordinatorapi.Order {
	n.t.Helper()
	var o coordinatorapi.Order
	require.EventuallyWithT(n.t, func(t *assertT) {
		o = n.order(id)
		require.Contains(t, []string{"completed", "cancelled"}, string(o.Status), o.Explanation.Summary)
	}, 2*waitFor, 50*time.Millisecond)
	return o
}

// newOrder is a valid order; changes replace members, nil removes them.
func newOrder(changes ...map[string]any) map[string]any {
	o := map[string]any{
		"shop": "muglife", "customer_id": "cus_1", "reference": "1001", "currency": "EUR",
		"lines":          []any{map[string]any{"sku": "SKU-MUG-BLUE", "quantity": 2, "unit_price_minor": 1250}},
		"shipping_minor": 490, "total_minor": 2990, "payment_token": "tok_visa",
		"ship_to": map[string]any{
			"name": "Ada Lovelace", "lines": []any{"Unter den Linden 1"}, "city": "Berlin", "postal_code": "10117",
			"country": "DE", "email": "ada@example.com",
		},
	}
	for _, c := range changes {
		maps.Copy(o, c)
	}
	for name, value := range o {
		if value == nil {
			delete(o, name)
		}
	}
	return o
}

// steps is how many steps an order takes, for tests that are not about which ones.
func steps(t *testing.T) int {
	t.Helper()
	d, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(t, err)
	return len(d.Steps())
}

// world is the participants: it answers every command at once with success unless a test says otherwise.
type world struct {
	t        testing.TB
	config   kafka.Config
	producer *kgo.Client

	mu sync.Mutex
	// rule answers a command; nil is success, and silence is errSilent.
	rule func(c command) *sagav1.Reply
	seen []command
	// held are the participants that read nothing until they are released.
	held map[string]chan struct{}
}

// command is what a participant received.
type command struct {
	*sagav1.CommandMeta
	Participant string
	Message     proto.Message
}

func (c command) key() string {
	return c.GetStep() + "/" + strings.ToLower(c.GetOperation().String()[10:])
}

// silence is the answer of a participant that does not answer.
var silence = &sagav1.Reply{}

func newWorld(t testing.TB, config kafka.Config) *world {
	t.Helper()
	definitions, err := order.Definitions(order.DefaultTiming)
	require.NoError(t, err)
	w := &world{t: t, config: config}
	w.producer, err = kafka.NewProducer(config, "world", kafkatest.Log(t), nil)
	require.NoError(t, err)
	t.Cleanup(w.producer.Close)
	for _, p := range order.Participants(definitions) {
		consumer, err := kafka.NewConsumer(config, "world-"+p, kafka.ConsumerOptions{
			Group: config.Topics().Group(p), Topics: []string{config.Topics().CommandTopic(p)},
			Handle: func(ctx context.Context, records []*kgo.Record) error { return w.handle(ctx, p, records) },
		}, kafkatest.Log(t), nil)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = consumer.Run(ctx)
		}()
		t.Cleanup(func() {
			cancel()
			<-done
		})
	}
	return w
}

// answer sets the rule by which commands are answered from now on.
func (w *world) answer(rule func(c command) *sagav1.Reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rule = rule
}

// hold makes a participant stop reading, as if it were down.
func (w *world) hold(participant string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = map[string]chan struct{}{participant: make(chan struct{})}
	w.t.Cleanup(func() { w.release(participant) })
}

func (w *world) release(participant string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if held := w.held[participant]; held != nil {
		close(held)
		delete(w.held, participant)
	}
}

// commands lists what was received for a saga, as step/op.
func (w *world) commands(id uuid.UUID) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, c := range w.seen {
		if c.GetSagaId() == id.String() {
			list = append(list, c.key())
		}
	}
	return list
}

// received returns the commands themselves.
func (w *world) received(id uuid.UUID, key string) []command {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []command
	for _, c := range w.seen {
		if c.GetSagaId() == id.String() && c.key() == key {
			list = append(list, c)
		}
	}
	return list
}

// first waits for a command: an order's status says that it was decided to send it, and not that it has come.
func (w *world) first(id uuid.UUID, key string) command {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return len(w.received(id, key)) > 0 }, waitFor, tick, "%s of %s", key, id)
	return w.received(id, key)[0]
}

func (w *world) handle(ctx context.Context, participant string, records []*kgo.Record) error {
	w.mu.Lock()
	held := w.held[participant]
	w.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var replies []*kgo.Record
	for _, r := range records {
		_, body, err := message.Decode(r)
		if err != nil {
			return err
		}
		meta := body.(interface{ GetMeta() *sagav1.CommandMeta }).GetMeta()
		c := command{CommandMeta: meta, Participant: participant, Message: body}
		w.mu.Lock()
		w.seen = append(w.seen, c)
		rule := w.rule
		w.mu.Unlock()
		var reply *sagav1.Reply
		if rule != nil {
			reply = rule(c)
		}
		if reply == silence {
			continue
		}
		if reply == nil {
			reply = success(c)
		}
		replies = append(replies, w.record(c, reply))
	}
	return kafka.Produce(ctx, w.producer, replies)
}

// record addresses a reply.
func (w *world) record(c command, reply *sagav1.Reply) *kgo.Record {
	reply = proto.CloneOf(reply)
	reply.SagaId, reply.OrderId, reply.Step = c.GetSagaId(), c.GetOrderId(), c.GetStep()
	reply.Generation, reply.Operation, reply.Attempt = c.GetGeneration(), c.GetOperation(), c.GetAttempt()
	reply.DecidedAt, reply.Worker = timestamppb.Now(), "fake/1"
	record, err := message.Encode(w.config.Topics().ReplyTopic(c.Participant), c.GetOrderId(), message.Event{
		Source: c.Participant, Subject: c.GetOrderId(), CorrelationID: c.GetSagaId(), Data: reply,
	})
	if err != nil {
		panic(err)
	}
	return record
}

// send writes a reply that nobody asked for.
func (w *world) send(c command, reply *sagav1.Reply) {
	w.t.Helper()
	require.NoError(w.t, kafka.Produce(w.t.Context(), w.producer, []*kgo.Record{w.record(c, reply)}))
}

// success is the answer of a participant with which all is well.
func success(c command) *sagav1.Reply {
	if c.GetOperation() == sagav1.Operation_OPERATION_UNDO {
		return &sagav1.Reply{EffectSeq: 2, Outcome: &sagav1.Reply_Undone{Undone: &sagav1.Undone{}}}
	}
	done := &sagav1.Done{Handles: map[string]string{}}
	add := func(kind string, amount int64, unit, handle, value string) {
		done.Effects = append(done.Effects, &sagav1.Effect{Kind: kind, Amount: amount, Unit: unit, Handle: value})
		done.Handles[handle] = value
	}
	name := fmt.Sprintf("%s-%s", c.GetStep(), c.GetSagaId()[24:])
	switch c.GetStep() {
	case "reserve_stock", "commit_stock":
		add("stock", 2, "SKU-MUG-BLUE", "reservation_id", name)
	case "authorize_payment":
		add("authorization", 2990, "EUR", "gateway_ref", name)
	case "create_shipment":
		add("label", 1, "label", "tracking_number", name)
		done.Handles["carrier"] = "fake"
	case "capture_payment":
		add("capture", 2990, "EUR", "capture_ref", name)
	case "send_confirmation":
		add("mail", 1, "mail", "notification_id", name)
	}
	return &sagav1.Reply{EffectSeq: 1, Outcome: &sagav1.Reply_Done{Done: done}}
}

func refusal(code string) *sagav1.Reply {
	return &sagav1.Reply{EffectSeq: 1, Outcome: &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: code, Detail: "said the test"}}}
}

const (
	waitFor    = 30 * time.Second
	tick       = 20 * time.Millisecond
	holdMargin = 30 * time.Minute
)

// mute is the rule by which some commands are not answered.
func mute(keys ...string) func(command) *sagav1.Reply {
	return func(c command) *sagav1.Reply {
		if slices.Contains(keys, c.key()) {
			return silence
		}
		return nil
	}
}

// quiet has timers that do not fire during a test.
func quiet(c *coordinator.Config) {
	c.AnswerTimeout, c.OutsideTimeout, c.OrderDeadline = time.Minute, time.Minute, time.Hour
}

func jsonInto(data []byte, v any) error { return json.Unmarshal(data, v) }

func testLog(t testing.TB) *slog.Logger { return kafkatest.Log(t) }

func mustJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// patient never gives up, however slow the machine is.
func patient(c *coordinator.Config) { c.GiveUp = 1000 }
