package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/pprof"
	"sync/atomic"

	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"
	"recourse.dev/services/payment"
	"recourse.dev/services/shipping"
	"recourse.dev/services/standalone/stack"
)

// near connects services and simulated providers without sockets: what is measured is the platform, and what it costs
// this machine to be both ends of a connection is no part of that. The adapters are those of production, and so are
// their requests, answers, signatures and webhooks, byte for byte; only HTTP's own framing is left out. Mails go over
// SMTP all the same. The workload `http` has sockets everywhere. A nil near connects nothing.
type near struct {
	toGateway, toCarrier, toPayment, toShipping *wire
}

// nearEnv lets the simulators keep their books in memory: their files are not the platform's either.
var nearEnv = map[string][]string{
	stack.GatewaySim: {"LEDGER_PATH="}, stack.CarrierSim: {"LEDGER_PATH="}, stack.MailSink: {"MAIL_DIR="},
}

func newNear(ctx context.Context) *near {
	return &near{
		toGateway: newWire(ctx, stack.Payment, stack.GatewaySim), toCarrier: newWire(ctx, stack.Shipping, stack.CarrierSim),
		toPayment: newWire(ctx, stack.GatewaySim, stack.Payment), toShipping: newWire(ctx, stack.CarrierSim, stack.Shipping),
	}
}

// connect is told of each service before it runs.
func (n *near) connect(service any) {
	if n == nil {
		return
	}
	switch s := service.(type) {
	case *gatewaysim.Server:
		s.DeliverBy(n.toPayment)
		n.toGateway.lead(s.Handler())
	case *carriersim.Server:
		s.DeliverBy(n.toShipping)
		n.toCarrier.lead(s.Handler())
	case *payment.Service:
		s.ReachGatewayBy(n.toGateway)
		n.toPayment.lead(s.Handler())
	case *shipping.Service:
		s.ReachCarrierBy(n.toCarrier)
		n.toShipping.lead(s.Handler())
	}
}

// wire leads from one member's requests to another's handler.
type wire struct {
	to atomic.Pointer[http.Handler]
	// caller and callee carry the labels by which a profile tells the two apart.
	caller, callee context.Context
}

func newWire(ctx context.Context, caller, callee string) *wire {
	labelled := func(name string) context.Context {
		return pprof.WithLabels(ctx, pprof.Labels(partLabel, partsOf[name], memberLabel, name))
	}
	return &wire{caller: labelled(caller), callee: labelled(callee)}
}

func (w *wire) lead(to http.Handler) { w.to.Store(&to) }

var errNobody = errors.New("nobody is at the other end")

// RoundTrip makes it an http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	to := w.to.Load()
	if to == nil {
		return nil, errNobody
	}
	asked := r.Clone(r.Context())
	asked.RequestURI, asked.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:0"
	if asked.Body == nil {
		asked.Body = http.NoBody
	}
	a := &answer{header: http.Header{}, status: http.StatusOK}
	pprof.SetGoroutineLabels(w.callee)       //nolint:contextcheck // it carries the labels and nothing else
	defer pprof.SetGoroutineLabels(w.caller) //nolint:contextcheck // see above
	(*to).ServeHTTP(a, asked)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer is an http.ResponseWriter.
type answer struct {
	header http.Header
	body   bytes.Buffer
	status int
	begun  bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.begun {
		a.status, a.begun = status, true
	}
}

func (a *answer) Write(content []byte) (int, error) {
	a.begun = true
	return a.body.Write(content)
}
