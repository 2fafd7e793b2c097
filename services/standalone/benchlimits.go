package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"recourse.dev/services/standalone/bench"
)

// limits hold a report to counts that do not depend on the machine, so that what an order costs does not creep up.
type limits struct {
	atMost, atLeast map[string]string
}

// limit is one of them.
type limit struct {
	name  string
	value float64
	most  bool
}

// parse reads the flags. A figure that no report has is a mistake, seen before any load.
func (l *limits) parse() ([]limit, error) {
	known, err := figures(&bench.Report{})
	if err != nil {
		return nil, err
	}
	var all []limit
	for flag, given := range map[string]map[string]string{"--at-most": l.atMost, "--at-least": l.atLeast} {
		for name, text := range given {
			one := limit{name: name, most: flag == "--at-most"}
			if _, err := fmt.Sscanf(text+" ", "%g ", &one.value); err != nil {
				return nil, fmt.Errorf("%s %s=%s: want a number", flag, name, text)
			}
			if _, ok := known[name]; !ok {
				return nil, fmt.Errorf("%s: a report has no figure %q; it has %s", flag, name,
					strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			}
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b limit) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// figures are the numbers of a report by their names in its JSON.
func figures(r *bench.Report) (map[string]float64, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the report: %w", err)
	}
	var all map[string]any
	if err := json.Unmarshal(line, &all); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	numbers := make(map[string]float64)
	for name, value := range all {
		if n, ok := value.(float64); ok {
			numbers[name] = n
		}
	}
	return numbers, nil
}

// errBeyond says which limits a report is beyond.
func errBeyond(r *bench.Report, all []limit) error {
	numbers, err := figures(r)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range all {
		switch got := numbers[l.name]; {
		case l.most && got > l.value:
			errs = append(errs, fmt.Errorf("%s is %g, more than %g", l.name, got, l.value))
		case !l.most && got < l.value:
			errs = append(errs, fmt.Errorf("%s is %g, less than %g", l.name, got, l.value))
		}
	}
	return errors.Join(errs...)
}
