package mutants

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a run.
type Options struct {
	// Root of the source tree.
	Root string
	// Only is the name of the one mutant to run; empty runs all.
	Only string
	// Quick runs the mutants that die without a database, and does not start one.
	Quick bool
	// Parallel is how many mutants are run side by side.
	Parallel int
	// Env is added to that of the killers.
	Env []string
	// Done hears of each mutant when its run is over; calls do not overlap.
	Done func(Result)
}

// Result is what became of a mutant.
type Result struct {
	Mutant Mutant
	Kills  []Kill
	Took   time.Duration
}

// Dead says that something noticed it.
func (r *Result) Dead() bool {
	return slices.ContainsFunc(r.Kills, func(k Kill) bool { return k.Dead })
}

// Report is what a run ends with; it is printed as one line of JSON.
type Report struct {
	Mutants   int      `json:"mutants"`
	Killed    int      `json:"killed"`
	Survivors []string `json:"survivors"`
	// BySim and MedianSeeds say how many the simulator noticed, and how soon.
	BySim       int     `json:"by_sim"`
	ByExplorer  int     `json:"by_explorer"`
	MedianSeeds uint64  `json:"median_seeds"`
	Seconds     float64 `json:"seconds"`
}

// Select is the part of the list that a run is about.
func Select(list []Mutant, o Options) ([]Mutant, error) {
	var selected []Mutant
	for _, m := range list {
		if o.Only != "" && m.Name != o.Only || o.Quick && !m.Quick() {
			continue
		}
		if o.Quick {
			m.Killers = slices.DeleteFunc(slices.Clone(m.Killers), func(k Killer) bool { return k.Kind == DB })
		}
		selected = append(selected, m)
	}
	if len(selected) == 0 {
		return nil, fmt.Errorf("there is no mutant %q to run; --list shows them", o.Only)
	}
	return selected, nil
}

// Run puts every mutant to the test. The error is what kept it from being told whether they die.
func Run(ctx context.Context, list []Mutant, o Options) (Report, error) {
	started := time.Now()
	// All of them at once, before anything takes long.
	var stale []error
	for i := range list {
		if _, err := list[i].Files(o.Root); err != nil {
			stale = append(stale, err)
		}
	}
	if err := errors.Join(stale...); err != nil {
		return Report{}, err
	}
	if err := baseline(ctx, list, o); err != nil {
		return Report{}, err
	}
	results, err := o.each(ctx, list)
	if err != nil {
		return Report{}, err
	}
	report := summary(results)
	report.Seconds = time.Since(started).Seconds()
	return report, nil
}

// each runs the mutants side by side; the first error stops them all.
func (o *Options) each(ctx context.Context, list []Mutant) ([]Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		queue   = make(chan Mutant)
		results []Result
	)
	for range max(1, o.Parallel) {
		wg.Go(func() {
			for m := range queue {
				r, err := o.run(ctx, m)
				if err != nil {
					cancel(fmt.Errorf("mutant %s: %w", m.Name, err))
					continue
				}
				mu.Lock()
				results = append(results, r)
				if o.Done != nil {
					o.Done(r)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range list {
		select {
		case queue <- m:
		case <-ctx.Done():
		}
	}
	close(queue)
	wg.Wait()
	return results, context.Cause(ctx)
}

func (o *Options) run(ctx context.Context, m Mutant) (Result, error) {
	started := time.Now()
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return Result{}, fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	b := bench{root: o.Root, dir: dir, env: o.Env}
	if b.overlay, err = m.overlay(o.Root, dir); err != nil {
		return Result{}, err
	}
	r := Result{Mutant: m}
	for _, k := range m.Killers {
		if k.Kind == DB && r.Dead() {
			break
		}
		kill, err := b.kill(ctx, k)
		if err != nil {
			return Result{}, err
		}
		r.Kills = append(r.Kills, kill)
	}
	r.Took = time.Since(started)
	return r, nil
}

// baseline runs every killer against the unchanged program, the tests of one package together. Results that the go
// command still has in its cache count.
func baseline(ctx context.Context, list []Mutant, o Options) error {
	dir, err := os.MkdirTemp("", "mutant-none-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	b := bench{root: o.Root, dir: dir, env: o.Env}
	for _, k := range together(list) {
		kill, err := b.kill(ctx, k)
		if err != nil {
			return fmt.Errorf("without any mutant: %w", err)
		}
		if kill.Dead {
			return fmt.Errorf("without any mutant: %s fails (%s); mend it first, a killer that fails anyway kills nothing",
				strings.TrimSpace(fmt.Sprint(k.Kind, " ", k.Package)), kill.By)
		}
	}
	return nil
}

// together lists the killers of all mutants, with one for all tests of a package that cost the same.
func together(list []Mutant) []Killer {
	var all []Killer
	tests := map[Killer][]string{}
	for _, m := range list {
		for _, k := range m.Killers {
			key := Killer{Kind: k.Kind, Package: k.Package}
			if _, seen := tests[key]; !seen {
				all = append(all, key)
			}
			// A part of a test cannot be asked for beside whole tests: the whole of it is run.
			test, _, _ := strings.Cut(k.Run, "/")
			if !slices.Contains(tests[key], test) {
				tests[key] = append(tests[key], test)
			}
		}
	}
	for i := range all {
		all[i].Run = strings.Join(tests[all[i]], "|")
	}
	return all
}

func summary(results []Result) Report {
	report := Report{Mutants: len(results), Survivors: []string{}}
	var seeds []uint64
	for i := range results {
		r := &results[i]
		if r.Dead() {
			report.Killed++
		} else {
			report.Survivors = append(report.Survivors, r.Mutant.Name)
		}
		for _, k := range r.Kills {
			switch {
			case k.Dead && k.Killer.Kind == Sim:
				report.BySim++
				seeds = append(seeds, k.Seeds)
			case k.Dead && k.Killer.Kind == Explore:
				report.ByExplorer++
			}
		}
	}
	slices.Sort(report.Survivors)
	if slices.Sort(seeds); len(seeds) > 0 {
		report.MedianSeeds = seeds[len(seeds)/2]
	}
	return report
}
