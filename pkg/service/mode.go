package service

import "fmt"

// Mode says what a process may put up with.
type Mode string

const (
	// Production refuses whatever could lose what was acknowledged, such as a topic with one copy.
	Production Mode = "production"
	// Development is for one broker on one machine: what is lost there was never anybody's order.
	Development Mode = "development"
)

// Validate knows the modes; code that makes a configuration by hand may leave it empty, which is Development.
func (m Mode) Validate() error {
	switch m {
	case Production, Development, "":
		return nil
	}
	return fmt.Errorf("RECOURSE_MODE=%q: want %s or %s", string(m), Production, Development)
}
