package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// network makes the links; they share nothing but a log that nobody reads.
type network struct{ server *toxiproxy.ApiServer }

func newNetwork() *network {
	toxics.Register(cutCommitType, new(cutCommit))
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics write to the global logger
	return &network{toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// link is the way from one process to a server, through a proxy.
type link struct {
	addr  string
	proxy *toxiproxy.Proxy
}

func (n *network) link(name, listen, upstream string) (*link, error) {
	p := toxiproxy.NewProxy(n.server, name, listen, upstream)
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("starting the proxy of %s: %w", name, err)
	}
	return &link{addr: listen, proxy: p}, nil
}

// toxic is something that happens to the bytes of a link; see the toxics of toxiproxy.
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float32        `json:"toxicity"`
	Attributes map[string]any `json:"attributes"`
}

const (
	toServer = "upstream"
	toClient = "downstream"
)

// toxicPatience bounds the change of a link: toxiproxy waits for a peer that does not read, such as a stopped one.
const toxicPatience = 30 * time.Second

func (l *link) poison(ctx context.Context, list ...toxic) error {
	return l.change(ctx, func() error {
		for _, t := range list {
			t.Name = fmt.Sprintf("%s-%s", t.Type, t.Stream)
			if t.Toxicity == 0 {
				t.Toxicity = 1
			}
			data, err := json.Marshal(t)
			if err != nil {
				return err
			}
			if _, err := l.proxy.Toxics.AddToxicJson(bytes.NewReader(data)); err != nil {
				return fmt.Errorf("poisoning the link %s with %s: %w", l.proxy.Name, t.Type, err)
			}
		}
		return nil
	})
}

func (l *link) heal(ctx context.Context) error {
	return l.change(ctx, func() error {
		l.proxy.Toxics.ResetToxics(ctx) // which only takes a logger from it
		return nil
	})
}

// reset ends every connection of the link; the next ones are fine.
func (l *link) reset(ctx context.Context) error {
	return l.change(ctx, func() error {
		l.proxy.Stop()
		return l.proxy.Start()
	})
}

func (l *link) change(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(toxicPatience):
		return errors.New("the proxy of " + l.proxy.Name + " does not let itself be changed")
	}
}

// commitsCut counts the answers that cutCommit has kept back.
var commitsCut atomic.Int64

const cutCommitType = "cut_commit"

// cutCommit ends a connection to PostgreSQL in the moment in which the server says that it has committed: the
// transaction is there, and the client cannot know it.
type cutCommit struct{}

// committed is how the server's answer to COMMIT begins: CommandComplete, its length, its tag.
var committed = []byte("C\x00\x00\x00\x0bCOMMIT\x00")

// Pipe implements toxics.Toxic.
func (*cutCommit) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			if at := bytes.Index(c.Data, committed); at >= 0 {
				commitsCut.Add(1)
				if at > 0 {
					stub.Output <- &stream.StreamChunk{Data: c.Data[:at], Timestamp: c.Timestamp}
				}
				stub.Close()
				return
			}
			stub.Output <- c
		}
	}
}
