package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"recourse.dev/coordinator"
	"recourse.dev/pkg/coalesce"
	"recourse.dev/services/standalone/load"
)

// platform is what is measured.
type platform interface {
	// place places an order, under its reference as key.
	place(ctx context.Context, reference, sku string, f fate) (uuid.UUID, load.Outcome, error)
	// groups says how many members each consumer group has.
	groups(o *Options) map[string]int
	// batches reads the platform's own metrics.
	batches(ctx context.Context) (batches, error)
	// quiet ends every connection of the platform to its databases, so that the server's counters are complete.
	quiet(ctx context.Context) error
	// check says what does not add up, after quiet.
	check(ctx context.Context, g *ground, all expected) (wrong []string, err error)
	failure() error
	stop(ctx context.Context) error
}

// expected is what must be found at the end.
type expected struct {
	fates [3]int64
	// counted is what the run itself heard of.
	completed, compensated int
	// scarce says that orders may also have found nothing on the shelf.
	scarce bool
}

func (e *expected) orders() int64 { return e.fates[completes] + e.fates[declined] + e.fates[refused] }

// place hands an order to a coordinator in this process, which counts as the coordinator's work from there on.
func place(
	ctx context.Context, c *coordinator.Service, reference, sku string, f fate,
) (id uuid.UUID, outcome load.Outcome, err error) {
	o := newOrder(reference, sku, f)
	asCoordinator(func() { id, err = c.Place(ctx, reference, o) }) //nolint:contextcheck // it has labels and nothing else
	switch {
	case err == nil:
		return id, load.Accepted, nil
	case errors.Is(err, coalesce.ErrFull):
		return id, load.Refused, err
	}
	return id, load.Failed, err
}

// submit places an order over the REST API.
func submit(
	ctx context.Context, shop *load.Shop, reference, sku string, f fate,
) (uuid.UUID, load.Outcome, error) {
	document := newOrder(reference, sku, f)
	o := load.NewOrder(reference, sku, document.GetPaymentToken())
	o.ShipTo.Country = document.GetShipTo().GetCountry()
	id, outcome, _ := shop.Submit(ctx, o)
	if outcome == load.Unavailable {
		outcome = load.Refused
	}
	if outcome == load.Failed {
		return id, outcome, errors.New("the coordinator gave no answer that counts")
	}
	return id, outcome, nil
}

const readyWithin = 60 * time.Second

// waitReady returns when the service there says that it is ready.
func waitReady(ctx context.Context, url string, failure func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close() // only the status matters
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := failure(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", url, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
