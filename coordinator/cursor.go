package coordinator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/google/uuid"

	"recourse.dev/pkg/httpserver"
)

// cursorTag is how many bytes tie a cursor to its filters; they guard against mistakes, not against malice: a cursor
// gives no right that the list has not.
const cursorTag = 4

// sealCursor makes the opaque text of a place in a list.
func sealCursor(id uuid.UUID, fingerprint string) string {
	sum := sha256.Sum256([]byte(fingerprint))
	return base64.RawURLEncoding.EncodeToString(append(id[:], sum[:cursorTag]...))
}

// openCursor reads it back; the empty text is the start, uuid.Nil.
func openCursor(text, fingerprint string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(uuid.UUID{})+cursorTag {
		return uuid.Nil, cursorInvalid()
	}
	sum := sha256.Sum256([]byte(fingerprint))
	if subtle.ConstantTimeCompare(raw[16:], sum[:cursorTag]) == 0 {
		return uuid.Nil, cursorInvalid()
	}
	return uuid.UUID(raw[:16]), nil
}

func cursorInvalid() error {
	return httpserver.NewProblem(httpserver.CodeCursorInvalid,
		"Take next_cursor of the page before as it is, with the same filters, or start again without a cursor.")
}
