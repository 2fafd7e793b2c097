package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
)

// batchLine is a line of the metrics that say how many records a transaction has.
var batchLine = regexp.MustCompile(
	`^recourse_(?:coordinator_batch_size|worker_batch_records)_(sum|count)\{(?:door|participant)="([a-z]+)"\} (\S+)$`)

// sumCount adds up the batches of a door or participant.
type sumCount struct{ sum, count float64 }

// batches are the records of transactions, by who took them.
type batches map[string]sumCount

func (b batches) read(text io.Reader) error {
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := batchLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return fmt.Errorf("reading metrics: %q: %w", lines.Text(), err)
		}
		one := b[m[2]]
		if m[1] == "sum" {
			one.sum += value
		} else {
			one.count += value
		}
		b[m[2]] = one
	}
	return lines.Err()
}

// readFrom takes the metrics that a service serves.
func (b batches) readFrom(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("reading metrics: %w", err)
	}
	defer response.Body.Close()
	return b.read(response.Body)
}

func (b batches) means() map[string]float64 {
	means := map[string]float64{}
	for name, one := range b {
		if one.count > 0 {
			means[name] = digits(one.sum / one.count)
		}
	}
	return means
}
