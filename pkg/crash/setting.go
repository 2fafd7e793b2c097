//go:build crashpoints

package crash

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultStall is longer than any session or lease of a default configuration but the longest.
const defaultStall = 15 * time.Second

// setting is what is to happen: <point>[:<hit>[:<mode>]], where a stall may say for how long.
type setting struct {
	point Name
	hit   int
	mode  Mode
	stall time.Duration
}

func parse(text string) (setting, error) {
	s := setting{hit: 1, mode: Exit, stall: defaultStall}
	parts := strings.Split(text, ":")
	if len(parts) > 3 {
		return s, errors.New("want <point>:<n>:<mode>")
	}
	s.point = Name(parts[0])
	place, known := find(s.point)
	if !known {
		return s, fmt.Errorf("no such point; there are %v", Points())
	}
	var err error
	if len(parts) > 1 {
		if s.hit, err = strconv.Atoi(parts[1]); err != nil || s.hit < 1 {
			return s, errors.New("want <point>:<n>:<mode> with n of 1 or more")
		}
	}
	if len(parts) > 2 {
		mode, length, timed := strings.Cut(parts[2], "=")
		s.mode = Mode(mode)
		if timed {
			if s.stall, err = time.ParseDuration(length); err != nil || s.mode != Stall || s.stall <= 0 {
				return s, errors.New("want a duration of more than 0, and of a stall only")
			}
		}
	}
	if !slices.Contains(Modes(), s.mode) {
		return s, fmt.Errorf("no such mode; there are %v", Modes())
	}
	if s.mode == Error && place.deaf != "" {
		return s, fmt.Errorf("mode error has no meaning here: %s", place.deaf)
	}
	return s, nil
}
