package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAnswer is how much of a receiver's answer is read, so that its connection can be used again.
const maxAnswer = 4 << 10

// Post sends a message once. It has arrived when the receiver says 2xx; any error means that it may or may not have.
func Post(ctx context.Context, client *http.Client, url string, keys []Key, id string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("sending webhook %s: %w", id, err)
	}
	request.Header.Set("Content-Type", "application/json")
	Sign(request.Header, keys, id, time.Now(), body)
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("sending webhook %s: %w", id, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("sending webhook %s: the receiver says %s", id, response.Status)
	}
	return nil
}
