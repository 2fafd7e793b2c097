package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// shop is all the clients: each order has one, which repeats what nobody answered and looks until the order has ended.
type shop struct {
	plan   *Plan
	base   string
	client *http.Client
	log    *clientLog

	submitted, open, unanswered atomic.Int64

	mu    sync.Mutex
	sales []*sale
}

// sale is what a client knows about its order, and what it was told that cannot be true.
type sale struct {
	purchase
	id string
	// accepted is when the first answer came.
	accepted time.Time
	// seen is when each status was first seen.
	seen  []sighting
	ended bool
	// cancel is what was answered to the wish to cancel.
	cancel string
	// lies are answers that contradict others.
	lies []string
	// lost says that the order cannot be found.
	lost bool
}

type sighting struct {
	status   coordinatorapi.OrderStatus
	revision int64
	at       time.Time
}

func newShop(plan *Plan, base string, log *clientLog) *shop {
	return &shop{
		plan: plan, base: base, log: log,
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
}

// run places all orders of the plan and follows them; placed is closed when all are placed. It returns when all have
// ended, or ctx has.
func (s *shop) run(ctx context.Context, placed chan<- struct{}) {
	var following sync.WaitGroup
	slots := make(chan struct{}, s.plan.Shops)
	ticker := time.NewTicker(time.Duration(float64(time.Second) / s.plan.Rate))
	defer ticker.Stop()
	for n := range s.plan.Sagas {
		select {
		case <-ctx.Done():
		case slots <- struct{}{}:
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
		if ctx.Err() != nil {
			break
		}
		s.submitted.Add(1)
		following.Go(func() {
			defer func() { <-slots }()
			s.serve(ctx, s.plan.draw(n))
		})
	}
	close(placed)
	following.Wait()
	s.client.CloseIdleConnections()
}

// serve is the life of one order from its client's side.
func (s *shop) serve(ctx context.Context, p purchase) {
	sold := &sale{purchase: p}
	s.open.Add(1)
	defer s.open.Add(-1)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sales = append(s.sales, sold)
	}()
	if p.malformed {
		s.malformed(ctx, sold)
		return
	}
	if !s.submit(ctx, sold) {
		return
	}
	var wish sync.WaitGroup
	if p.cancelAfter >= 0 {
		wish.Go(func() { s.cancel(ctx, sold) })
	}
	if p.otherBody {
		s.otherBody(ctx, sold)
	}
	s.follow(ctx, sold)
	wish.Wait()
}

// submit posts the order, side by side if the purchase says so; every answer must name the same order.
func (s *shop) submit(ctx context.Context, sold *sale) bool {
	body, err := json.Marshal(sold.order)
	if err != nil {
		panic(err) // our own type
	}
	ids := make([]string, sold.posts)
	var posting sync.WaitGroup
	for i := range ids {
		posting.Go(func() {
			a, ok := s.insist(ctx, http.MethodPost, "/v1/orders", sold.key, body)
			if !ok {
				return
			}
			var receipt coordinatorapi.OrderReceipt
			if a.status != http.StatusAccepted || json.Unmarshal(a.body, &receipt) != nil {
				sold.lie("submitted and answered %d: %s", a.status, a.body)
				return
			}
			ids[i] = receipt.ID.String()
		})
	}
	posting.Wait()
	sold.accepted = time.Now()
	for _, id := range ids {
		if id != "" && sold.id != "" && id != sold.id {
			sold.lie("one key was answered with the orders %s and %s", sold.id, id)
		}
		if id != "" {
			sold.id = id
		}
	}
	if sold.id == "" {
		s.unanswered.Add(1)
	}
	return sold.id != ""
}

func (s *shop) malformed(ctx context.Context, sold *sale) {
	bodies := []string{
		`{`, `[]`, `{"shop":"x"}`, `{"shop":"shop-1","lines":[]}`,
		fmt.Sprintf(`{"shop":"shop-1","customer_id":"c","reference":%q,"currency":"EUR","payment_token":"tok_visa",`+
			`"total_minor":-5,"lines":[{"sku":"SKU-001","quantity":1,"unit_price_minor":-5}],`+
			`"ship_to":{"name":"A","lines":["B"],"city":"C","country":"DE"}}`, sold.order.Reference),
	}
	a, ok := s.insist(ctx, http.MethodPost, "/v1/orders", sold.key, []byte(bodies[sold.n%len(bodies)]))
	sold.ended = true
	if ok && (a.status < 400 || a.status >= 500) {
		sold.lie("malformed and answered %d: %s", a.status, a.body)
	}
}

func (s *shop) otherBody(ctx context.Context, sold *sale) {
	other := sold.order
	other.CustomerID = "somebody-else"
	body, err := json.Marshal(other)
	if err != nil {
		panic(err) // our own type
	}
	a, ok := s.insist(ctx, http.MethodPost, "/v1/orders", sold.key, body)
	if ok && a.status != http.StatusUnprocessableEntity {
		sold.lie("another body under its key was answered %d: %s", a.status, a.body)
	}
}

func (s *shop) cancel(ctx context.Context, sold *sale) {
	if pause(ctx, sold.cancelAfter) != nil {
		return
	}
	a, ok := s.insist(ctx, http.MethodPost, "/v1/orders/"+sold.id+"/cancel", "cancel-"+sold.key, []byte("{}"))
	if !ok {
		return
	}
	var answer struct{ Answer, Code string }
	if err := json.Unmarshal(a.body, &answer); err != nil || a.status >= 500 {
		sold.lie("a cancel was answered %d: %s", a.status, a.body)
	}
	sold.say(func() { sold.cancel = answer.Answer + answer.Code })
}

// follow looks at the order until it has ended.
func (s *shop) follow(ctx context.Context, sold *sale) {
	wait := 250 * time.Millisecond
	for missing := 0; ; {
		a, ok := s.insist(ctx, http.MethodGet, "/v1/orders/"+sold.id, "", nil)
		if !ok {
			return
		}
		var o coordinatorapi.Order
		switch {
		case a.status == http.StatusNotFound:
			sold.lie("accepted and then not found")
			if missing++; missing > 5 {
				sold.lost = true
				return
			}
		case a.status != http.StatusOK:
			sold.lie("looked at and answered %d: %s", a.status, a.body)
			return
		case json.Unmarshal(a.body, &o) != nil:
			sold.lie("looked at and answered %s", a.body)
			return
		default:
			sold.see(sighting{o.Status, o.Revision, time.Now()})
			if o.EndedAt != nil {
				sold.ended = true
				return
			}
		}
		if pause(ctx, wait) != nil {
			return
		}
		wait = min(wait*3/2, 2*time.Second)
	}
}

type answer struct {
	status int
	body   []byte
}

// insist repeats a request until it is answered; 429 and 503 are answers that ask to come again. False: ctx has ended.
func (s *shop) insist(ctx context.Context, method, path, key string, body []byte) (answer, bool) {
	for try := 0; ; try++ {
		a, err := s.once(ctx, method, path, key, body)
		if ctx.Err() != nil {
			return a, false
		}
		if err == nil && a.status != http.StatusServiceUnavailable && a.status != http.StatusTooManyRequests {
			return a, true
		}
		if pause(ctx, min(time.Second, 50*time.Millisecond<<min(try, 5))) != nil {
			return a, false
		}
	}
}

func (s *shop) once(ctx context.Context, method, path, key string, body []byte) (a answer, err error) {
	begin := time.Now()
	defer func() { s.log.write(begin, method, path, key, a, err) }()
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return a, err
	}
	a.status = resp.StatusCode
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return a, errors.Join(err, resp.Body.Close())
}

// clientLog keeps every request and answer, one line each.
type clientLog struct {
	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
}

func newClientLog(path string) (*clientLog, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("making the clients' log: %w", err)
	}
	return &clientLog{file: file, out: bufio.NewWriterSize(file, 1<<16)}, nil
}

func (l *clientLog) write(begin time.Time, method, path, key string, a answer, err error) {
	line := struct {
		At     time.Time `json:"at"`
		MS     int64     `json:"ms"`
		Method string    `json:"method"`
		Path   string    `json:"path"`
		Key    string    `json:"key,omitempty"`
		Status int       `json:"status,omitempty"`
		Answer string    `json:"answer,omitempty"`
		Error  string    `json:"error,omitempty"`
	}{At: begin.UTC(), MS: time.Since(begin).Milliseconds(), Method: method, Path: path, Key: key, Status: a.status}
	if err != nil {
		line.Error = err.Error()
	}
	if method != http.MethodGet || a.status != http.StatusOK {
		line.Answer = string(a.body[:min(len(a.body), 500)])
	}
	data, _ := json.Marshal(line) // our own type
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(append(data, '\n')) // a full disk shows at close
}

func (l *clientLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.out.Flush(), l.file.Close())
}
