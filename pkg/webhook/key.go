package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"recourse.dev/pkg/service"
)

// keyPrefix begins the text of every key, so that one is recognised wherever it has got to.
const keyPrefix = "whsec_"

// minKey is the shortest key; a shorter one could be guessed.
const minKey = 24

// Key is a secret that both ends know.
type Key struct {
	secret []byte
}

// ParseKey reads the text of a key: whsec_ and then at least 24 bytes in base64.
func ParseKey(text service.Secret) (Key, error) {
	encoded, ok := strings.CutPrefix(text.Reveal(), keyPrefix)
	if !ok {
		return Key{}, errors.New("a webhook secret begins with " + keyPrefix)
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		// The cause would quote the secret.
		return Key{}, errors.New("a webhook secret is base64 after " + keyPrefix)
	}
	if len(secret) < minKey {
		return Key{}, fmt.Errorf("a webhook secret has at least %d bytes, this one has %d", minKey, len(secret))
	}
	return Key{secret: secret}, nil
}

// ParseKeys reads the keys that are given and passes over those that are empty.
func ParseKeys(texts ...service.Secret) ([]Key, error) {
	var keys []Key
	for _, text := range texts {
		if text == "" {
			continue
		}
		key, err := ParseKey(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// String keeps the key out of logs.
func (Key) String() string { return "***" }
