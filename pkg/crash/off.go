//go:build !crashpoints

package crash

// Enabled says whether this build can be struck at a point.
const Enabled = false

// Point does nothing in this build.
func Point(Name) {}

// Fail does nothing in this build.
func Fail(Name) error { return nil }

// Arm fails in this build.
func Arm(Name, int, func()) (disarm func(), err error) {
	return nil, ErrDisabled
}
