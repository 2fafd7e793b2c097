package service

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Days is a long duration, for retentions: its text may count days ("45d") beside what time.ParseDuration reads.
type Days time.Duration

const day = 24 * time.Hour

// UnmarshalText reads a setting.
func (d *Days) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q: want whole days, such as 45d", text)
		}
		*d = Days(time.Duration(n) * day)
		return nil
	}
	duration, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q: want days or a duration, such as 45d or 36h", text)
	}
	*d = Days(duration)
	return nil
}

// Duration is the value as the standard library knows it.
func (d Days) Duration() time.Duration { return time.Duration(d) }

// String writes whole days as days.
func (d Days) String() string {
	if d >= Days(day) && d.Duration()%day == 0 {
		return strconv.FormatInt(int64(d.Duration()/day), 10) + "d"
	}
	return d.Duration().String()
}

// MarshalText writes what UnmarshalText reads.
func (d Days) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
