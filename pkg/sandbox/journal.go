package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Journal is an append-only file of JSON lines, one T a line. A journal without a path keeps nothing.
type Journal[T any] struct {
	file  *os.File
	fsync bool

	mu     sync.Mutex // the file's end
	size   int64      // bytes of whole lines
	broken error      // set once the file's end is not known any more

	syncMu sync.Mutex
	synced int64 // bytes known to be on the disk
}

// OpenJournal opens or creates the file, hands every line to replay in order, and cuts off a torn last line. An empty
// path is a journal that forgets. With fsync, Flush waits for the disk.
func OpenJournal[T any](path string, fsync bool, replay func(T) error) (*Journal[T], error) {
	if path == "" {
		return &Journal[T]{}, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the journal's folder: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	size, err := replayLines(file, replay)
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the journal %s: %w", path, err), file.Close())
	}
	return &Journal[T]{file: file, fsync: fsync, size: size, synced: size}, nil
}

// Append writes one line. When it returns, the line survives the end of this process; to survive the end of the
// machine it needs Flush. On an error nothing was appended.
func (j *Journal[T]) Append(value T) error {
	if j.file == nil {
		return nil
	}
	line, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding a journal line: %w", err)
	}
	line = append(line, '\n')

	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	if _, err := j.file.WriteAt(line, j.size); err != nil {
		// Part of the line may be in the file. Without its newline it counts for nothing, but a longer line
		// written over it later would be followed by its rest, so it is cut off now or never written after.
		if cut := j.file.Truncate(j.size); cut != nil {
			j.broken = fmt.Errorf("journal is broken: %w", errors.Join(err, cut))
		}
		return fmt.Errorf("appending to the journal: %w", err)
	}
	j.size += int64(len(line))
	return nil
}

// Flush waits until everything appended before it is on the disk, if the journal was opened so. Callers that wait at
// the same time share one fsync.
func (j *Journal[T]) Flush() error {
	if j.file == nil || !j.fsync {
		return nil
	}
	wanted := j.end()
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	if j.synced >= wanted {
		return nil
	}
	end := j.end()
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	j.synced = end
	return nil
}

// Close closes the file.
func (j *Journal[T]) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

func (j *Journal[T]) end() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// replayLines returns the number of bytes up to the last newline.
func replayLines[T any](file io.Reader, replay func(T) error) (int64, error) {
	reader := bufio.NewReader(file)
	size := int64(0)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
		var value T
		if err = DecodeStrict(line, &value); err == nil {
			err = replay(value)
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w (mend the line, or move the file away to begin anew)", number, err)
		}
		size += int64(len(line))
	}
}
