package service

import (
	"fmt"
	"io"
	"log/slog"
)

const masked = "***"

// Secret is a setting that must not be printed. Logs, errors, JSON and %v show ***; only Reveal gives the text.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// String masks the text; an empty secret stays empty, so that a missing one can be seen.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format masks the text under every verb; a wrong one would print it otherwise, in its complaint.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText masks the text in JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue masks the text in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
