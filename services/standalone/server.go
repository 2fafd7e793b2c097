package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"recourse.dev/services/audit"
	"recourse.dev/services/standalone/demo"
)

// part is one interface of a running system that the demo needs.
type part struct {
	flag, name string
	// offset from the coordinator's port, as in the default ports and in compose.yaml.
	offset int
	// probe is a path that answers 200 there and nowhere else by accident.
	probe string
	in    func(*audit.System) *string
	// simulator says that a real system has another thing in its place.
	simulator bool
}

var parts = []part{
	{"server", "coordinator", 0, "/v1/orders?limit=1", func(s *audit.System) *string { return &s.Coordinator }, false},
	{"inventory", "inventory", 1, "/v1/levels?limit=1", func(s *audit.System) *string { return &s.Inventory }, false},
	{"payment", "payment", 2, "/v1/payments?limit=1", func(s *audit.System) *string { return &s.Payment }, false},
	{"shipping", "shipping", 3, "/v1/shipments?limit=1", func(s *audit.System) *string { return &s.Shipping }, false},
	{"gateway", "card gateway simulator", 10, "/admin/ledger?order_id=none", func(s *audit.System) *string { return &s.Gateway }, true},
	{"carrier", "carrier simulator", 11, "/admin/totals", func(s *audit.System) *string { return &s.Carrier }, true},
}

// serverFlags say where a running system is.
type serverFlags struct {
	urls  [6]string // in the order of parts
	over  time.Duration
	crash string
	// real lets a system do without the simulators, as one with real providers does.
	real bool
}

// addURLs adds the flags that say where the parts are.
func (f *serverFlags) addURLs(flags *pflag.FlagSet, standard string) {
	flags.StringVar(&f.urls[0], "server", standard, "coordinator's URL of a running system to use, such as http://127.0.0.1:8080")
	for i, p := range parts[1:] {
		flags.StringVar(&f.urls[i+1], p.flag, "", fmt.Sprintf("with --server: URL of its %s (default: port +%d)", p.name, p.offset))
	}
}

func (f *serverFlags) add(flags *pflag.FlagSet) {
	f.addURLs(flags, "")
	flags.DurationVar(&f.over, "over", 0, "spread the orders over this time")
	flags.StringVar(&f.crash, "crash", "", "with --server: shell command that kills processes and starts them again, run with orders in flight")
}

// given says that there is a running system to use; the error is for flags that contradict each other.
func (f *serverFlags) given(cmd *cobra.Command) (bool, error) {
	changed := func(names ...string) string {
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				return name
			}
		}
		return ""
	}
	if f.over < 0 {
		return false, fmt.Errorf("--over %s: want a duration above 0, such as 2m", f.over)
	}
	if !cmd.Flags().Changed("server") {
		if name := changed("inventory", "payment", "shipping", "gateway", "carrier", "crash"); name != "" {
			return false, fmt.Errorf("--%s is about a running system: give its --server too", name)
		}
		return false, nil
	}
	if name := changed("data-dir", "database-url", "postgres", "kafka"); name != "" {
		return false, fmt.Errorf("--%s is about servers to start, and --server uses a system that runs: leave one of them out", name)
	}
	return true, nil
}

// system derives the addresses that were not given and asks at each whether the right part answers.
func (f *serverFlags) system(ctx context.Context) (audit.System, error) {
	var s audit.System
	base, err := baseURL("server", f.urls[0])
	if err != nil {
		return s, err
	}
	// A simulator that nobody said there is may be absent.
	absent := func(i int) bool { return f.real && parts[i].simulator && f.urls[i] == "" }
	for i, p := range parts {
		where, err := f.where(i, base)
		if err != nil && !absent(i) {
			return s, err
		}
		*p.in(&s) = where
	}
	for i, p := range parts {
		at := p.in(&s)
		if *at == "" {
			continue
		}
		if err := p.ask(ctx, *at); err != nil {
			if !absent(i) {
				return s, err
			}
			*at = ""
		}
	}
	return s, nil
}

// where is the address of a part: as given, or derived from the coordinator's.
func (f *serverFlags) where(i int, base *url.URL) (string, error) {
	p := parts[i]
	if i == 0 {
		return base.String(), nil
	}
	if f.urls[i] != "" {
		u, err := baseURL(p.flag, f.urls[i])
		if err != nil {
			return "", err
		}
		return u.String(), nil
	}
	port, err := strconv.Atoi(base.Port())
	if err != nil {
		return "", fmt.Errorf("--server %s: no port to derive the %s's from: give --%s URL", base, p.name, p.flag)
	}
	derived := *base
	derived.Host = strings.TrimSuffix(base.Host, base.Port()) + strconv.Itoa(port+p.offset)
	return derived.String(), nil
}

func baseURL(flag, text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("--%s %q: want a URL such as http://127.0.0.1:8080", flag, text)
	}
	return u, nil
}

// ask makes sure that the part answers at the base URL.
func (p part) ask(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+p.probe, nil)
	if err != nil {
		return fmt.Errorf("--%s %s: %w", p.flag, base, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the address stands in our line already
		}
		return fmt.Errorf("no %s answers at %s: %w (--%s URL says where it is)", p.name, base, err, p.flag)
	}
	_, err = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("reading the answer of %s%s: %w", base, p.probe, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("what answers at %s is no %s that is ready: GET %s: %s (--%s URL says where it is)",
			base, p.name, p.probe, resp.Status, p.flag)
	}
	return nil
}

// playDemoAgainst plays the demo against a running system. Parts of it may be killed meanwhile by whoever runs it.
func playDemoAgainst(ctx context.Context, f *serverFlags, o demo.Options, stdout, stderr io.Writer) (*demo.Report, error) {
	system, err := f.system(ctx)
	if err != nil {
		return nil, err
	}
	screen := newScreen(stdout)
	defer screen.done()
	fmt.Fprintf(stdout, "running system: %s\n\n", system.Coordinator)
	o.System, o.Bears = system, o.Patience
	if f.crash != "" {
		o.CrashAfter = max(1, o.Orders/20)
		o.Crash = func(ctx context.Context) error {
			cmd := exec.CommandContext(ctx, "sh", "-c", f.crash) //nolint:gosec // the user's own command
			cmd.Stdout, cmd.Stderr = stderr, stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("--crash %q: %w", f.crash, err)
			}
			return nil
		}
	}
	o.Progress = func(p demo.Progress) { screen.line(progressLine(p)) }
	r, err := demo.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	screen.done()
	printReport(stdout, r)
	return r, nil
}
