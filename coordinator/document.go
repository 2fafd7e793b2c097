package coordinator

import (
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// documents remembers the order documents of recent sagas, so that a reply need not read what never changes. It keeps
// between n and 2n of them: when the young generation is full, the old one is forgotten.
type documents struct {
	n          int
	mu         sync.Mutex
	young, old map[uuid.UUID]*orderv1.Order
}

func newDocuments(n int) *documents {
	return &documents{n: n, young: make(map[uuid.UUID]*orderv1.Order)}
}

// get returns the document of a saga's order, or nil if it is not here. It must not be changed.
func (c *documents) get(id uuid.UUID) *orderv1.Order {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.young[id]; o != nil {
		return o
	}
	o := c.old[id]
	if o != nil {
		c.keep(id, o)
	}
	return o
}

func (c *documents) put(id uuid.UUID, o *orderv1.Order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(id, o)
}

func (c *documents) keep(id uuid.UUID, o *orderv1.Order) {
	if len(c.young) >= c.n {
		c.young, c.old = make(map[uuid.UUID]*orderv1.Order, c.n), c.young
	}
	c.young[id] = o
}

// read takes the rows of documentsSQL in.
func (c *documents) read(rows pgx.Rows) error {
	var (
		id   uuid.UUID
		body []byte
	)
	_, err := pgx.ForEachRow(rows, []any{&id, &body}, func() error {
		var o orderv1.Order
		if err := proto.Unmarshal(body, &o); err != nil {
			return fmt.Errorf("decoding the order of saga %s: %w", id, err)
		}
		c.put(id, &o)
		return nil
	})
	return err
}
