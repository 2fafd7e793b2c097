package message

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIsPlain_looks_at_every_byte(t *testing.T) {
	t.Parallel()
	for length := 1; length <= 20; length++ {
		for at := range length {
			for b := range 256 {
				text := []byte(strings.Repeat("~ ", length)[:length])
				text[at] = byte(b)
				require.Equal(t, b >= ' ' && b <= '~', isPlain(string(text)), "%q", text)
			}
		}
	}
}
