package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"recourse.dev/pkg/sandbox"
)

func providerOutage(ctx context.Context, w *world, f Fault) (healing, error) {
	set := func(ctx context.Context, on bool) error {
		return w.put(ctx, w.stack.URL(f.On)+"/admin/outage", sandbox.Outage{On: on, Mode: sandbox.OutageMode(f.How)})
	}
	return func(ctx context.Context) error { return again(ctx, func() error { return set(ctx, false) }) }, set(ctx, true)
}

// providerRule makes a share of all requests fail in one way.
func providerRule(ctx context.Context, w *world, f Fault) (healing, error) {
	rule := sandbox.Rule{Route: sandbox.AnyRoute, Kind: sandbox.Kind(f.How), Probability: 0.4}
	if rule.Kind == sandbox.Delay || rule.Kind == sandbox.LateEffect {
		rule.DelayMS = 1200 // longer than the caller waits
	}
	return w.setRule(ctx, f.On, rule)
}

const webhookCut = "cut"

// webhookRule makes a share of a provider's webhooks come late, twice, in another order or never, or cuts their way.
func webhookRule(ctx context.Context, w *world, f Fault) (healing, error) {
	if f.How == webhookCut {
		return w.links[f.On+">"+callers[f.On]].cut(ctx)
	}
	rule := sandbox.Rule{Route: "webhook", Kind: sandbox.Kind(f.How), Probability: 0.5}
	if f.How == "late" || f.How == "reorder" {
		rule.DelayMS = 3000
	}
	return w.setRule(ctx, f.On, rule)
}

func (w *world) setRule(ctx context.Context, provider string, rule sandbox.Rule) (healing, error) {
	base := w.stack.URL(provider) + "/admin/faults"
	return func(ctx context.Context) error {
		return again(ctx, func() error { return w.send(ctx, http.MethodDelete, base, nil) })
	}, w.put(ctx, base, rule)
}

func (w *world) put(ctx context.Context, where string, body any) error {
	return w.send(ctx, http.MethodPut, where, body)
}

func (w *world) send(ctx context.Context, method, where string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*sec)
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", fmt.Sprintf("chaos-%x", sha256.Sum256(data)))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 2000))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, where, resp.Status, text)
	}
	return nil
}

func (w *world) get(ctx context.Context, where string) (status int, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, text, errors.Join(err, resp.Body.Close())
}
