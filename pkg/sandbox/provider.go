package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxBody bounds a request body.
const maxBody = 256 << 10

// Answer is a whole response, made before anything is written so that it can be lost, delayed or saved.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON is an answer with a JSON body.
func JSON(status int, value any) Answer {
	body, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("encoding an answer: %v", err)) // the simulators' own types always encode
	}
	return Answer{Status: status, Body: body}
}

// Call is one request on its way through a provider.
type Call struct {
	Request *http.Request
	Body    []byte
	// Plan is what shall go wrong. The provider sees to Refuse, Slow and Drop; Late, Decline and Fail are the
	// handler's, which knows where its effect is. The handler may strike more.
	Plan Plan

	stopping <-chan struct{}
}

// WaitLate waits as long as the plan says before the effect, whether or not the caller is still there. A server that
// shuts down waits no longer.
func (c *Call) WaitLate() {
	wait(c.Plan.Late, c.stopping)
}

// Outage makes a provider refuse every request.
type Outage struct {
	On bool `json:"on"`
	// Mode is how: close (the default) or status_503.
	Mode OutageMode `json:"mode,omitempty"`
}

// OutageMode is how a provider that is away refuses.
type OutageMode string

const (
	// OutageClose closes the connection.
	OutageClose OutageMode = "close"
	// Outage503 answers 503.
	Outage503 OutageMode = "status_503"
)

// ProviderConfig is what differs between providers.
type ProviderConfig struct {
	Faults *Faults
	// Error is the provider's error answer for 401, 413, 429, 500 and 503.
	Error func(status int) Answer
	// Authorized reports whether a request may be served; nil lets everyone in.
	Authorized func(*http.Request) bool
}

// Provider runs requests by their plans.
type Provider struct {
	ProviderConfig

	stopOnce sync.Once
	stopping chan struct{}

	mu     sync.Mutex
	outage Outage
}

// NewProvider makes a provider that works until told otherwise.
func NewProvider(config ProviderConfig) *Provider {
	return &Provider{ProviderConfig: config, stopping: make(chan struct{})}
}

// Stop ends all waits, so that requests in hand finish at once.
func (p *Provider) Stop() {
	p.stopOnce.Do(func() { close(p.stopping) })
}

// SetOutage starts or ends an outage.
func (p *Provider) SetOutage(outage Outage) error {
	if outage.Mode == "" {
		outage.Mode = OutageClose
	}
	if outage.Mode != OutageClose && outage.Mode != Outage503 {
		return fmt.Errorf("mode %q is not known: want %s or %s", outage.Mode, OutageClose, Outage503)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outage = outage
	return nil
}

// Handle serves one route: its faults are those set for the route's name.
func (p *Provider) Handle(route string, do func(*Call) Answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is read first even when nothing is done: a connection closed over unread bytes is reset, and
		// the reset could overtake what is sent before it.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
				write(w, p.Error(http.StatusRequestEntityTooLarge))
			}
			return // the caller left while sending
		}
		call := &Call{Request: r, Body: body, stopping: p.stopping}
		answer, refused := p.refuse(route, call)
		if !refused {
			answer = do(call)
			wait(call.Plan.Slow, p.stopping)
		}
		if call.Plan.Drop || call.Plan.Refuse == DropBefore {
			drop(w)
			return
		}
		write(w, answer)
	})
}

// refuse answers what is refused before anything is done, and makes the plan of everything else.
func (p *Provider) refuse(route string, call *Call) (Answer, bool) {
	p.mu.Lock()
	outage := p.outage
	p.mu.Unlock()
	switch {
	case outage.On && outage.Mode == Outage503:
		return p.Error(http.StatusServiceUnavailable), true
	case outage.On:
		call.Plan.Refuse = DropBefore
		return Answer{}, true
	case p.Authorized != nil && !p.Authorized(call.Request):
		return p.Error(http.StatusUnauthorized), true
	}
	call.Plan = p.Faults.Take(route)
	switch call.Plan.Refuse {
	case "":
		return Answer{}, false
	case Status429:
		answer := p.Error(http.StatusTooManyRequests)
		answer.Header = http.Header{"Retry-After": {"1"}}
		return answer, true
	default:
		return p.Error(http.StatusServiceUnavailable), true
	}
}

func write(w http.ResponseWriter, answer Answer) {
	header := w.Header()
	for name, values := range answer.Header {
		header[name] = values
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // the caller may have left; the effect stands all the same
}

// drop begins an answer and closes the connection. See the package comment for why it begins one.
func drop(w http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // not an HTTP/1 connection: this closes it too
	}
	_, _ = buffered.WriteString("HTTP/1.1 ")
	_ = buffered.Flush()
	_ = conn.Close()
}

func wait(delay time.Duration, stopping <-chan struct{}) {
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stopping:
	}
}
