package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/google/uuid"
)

// System is where the interfaces are: base URLs. Gateway and Carrier have ledgers of their own only where they are the
// simulators; empty means that there is none to read.
type System struct {
	Coordinator, Inventory, Payment, Shipping, Gateway, Carrier string
}

// statusError is an answer that is none.
type statusError struct {
	where  string
	status int
	text   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("reading %s: status %d %s: %s", e.where, e.status, http.StatusText(e.status), e.text)
}

func get(ctx context.Context, where string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // only for the message
		return &statusError{where: where, status: resp.StatusCode, text: string(text)}
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	return nil
}

// exists says whether there is something at an address that names it by id.
func exists(ctx context.Context, where, id string) (bool, error) {
	if uuid.Validate(id) != nil {
		return false, nil //nolint:nilerr // none of ours has such a name
	}
	var found json.RawMessage
	err := get(ctx, where+id, &found)
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// isMissing says that the answer was 404.
func isMissing(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.status == http.StatusNotFound
}

// span is the names after one up to another; empty is no limit. Names of orders and shipments grow with time.
type span struct{ after, upto string }

// query asks for a span in the words of an interface.
func (s span) query(after, upto string) url.Values {
	q := url.Values{"limit": {"200"}}
	if s.after != "" {
		q.Set(after, s.after)
	}
	if s.upto != "" {
		q.Set(upto, s.upto)
	}
	return q
}

// books reads all entries of a span from a service's /v1/books; open takes a page apart.
func books[P, T any](ctx context.Context, base string, s span, open func(P) ([]T, *uuid.UUID)) ([]T, error) {
	var all []T
	for {
		var page P
		if err := get(ctx, base+"/v1/books?"+s.query("after_order", "to_order").Encode(), &page); err != nil {
			return nil, err
		}
		entries, next := open(page)
		all = append(all, entries...)
		if next == nil {
			return all, nil
		}
		s.after = next.String()
	}
}

// ledger reads a span of a simulated provider's ledger.
func ledger[T any](ctx context.Context, base string, s span) ([]T, error) {
	var entries []T
	q := s.query("after", "to")
	q.Del("limit")
	return entries, get(ctx, base+"/admin/ledger?"+q.Encode(), &entries)
}
