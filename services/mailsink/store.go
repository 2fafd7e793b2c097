package mailsink

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// envelopeHeader is the first line of a file: what SMTP knows and the mail itself need not say.
const envelopeHeader = "X-Mailsink-Envelope: "

type envelope struct {
	ReceivedAt time.Time `json:"received_at"`
	From       string    `json:"from"`
	To         []string  `json:"to"`
}

// store keeps the newest mails, in memory and, with a folder, as files.
type store struct {
	dir  string
	keep int

	mu     sync.RWMutex
	mails  []Mail // oldest first
	copies map[string]int
}

// openStore reads the mails of earlier lives of the process. A file that is not ours is left alone.
func openStore(dir string, keep int, log *slog.Logger) (*store, error) {
	s := &store{dir: dir, keep: keep, copies: map[string]int{}}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making MAIL_DIR: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil {
		return nil, fmt.Errorf("listing MAIL_DIR: %w", err)
	}
	slices.Sort(paths) // names begin with the time
	for _, path := range paths {
		mail, err := readFile(path)
		if err != nil {
			log.Warn("ignoring a file in MAIL_DIR", "path", path, "error", err)
			continue
		}
		if err := s.remember(mail); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// add keeps a mail. With a folder its file is there when add returns.
func (s *store) add(from string, to []string, raw []byte, now time.Time) error {
	now = now.UTC().Truncate(time.Microsecond)
	mail := Mail{
		ID:         now.Format("20060102T150405.000000") + "-" + strings.ToLower(rand.Text()[:6]),
		ReceivedAt: now, From: from, To: to, raw: raw,
	}
	mail.parse()
	if err := s.writeFile(mail); err != nil {
		return err
	}
	return s.remember(mail)
}

// remember puts a mail into memory and forgets the oldest beyond the limit.
func (s *store) remember(mail Mail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mail.Copy = 1
	if mail.MessageID != "" {
		s.copies[mail.MessageID]++
		mail.Copy = s.copies[mail.MessageID]
	}
	s.mails = append(s.mails, mail)
	return s.forget(len(s.mails) - s.keep)
}

// clear forgets all mails.
func (s *store) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forget(len(s.mails))
}

// forget drops the oldest n mails; s.mu is held.
func (s *store) forget(n int) error {
	var errs []error
	for range n {
		oldest := s.mails[0]
		s.mails = s.mails[1:]
		// The count stays while a later copy is there, so that its number stays true.
		if s.copies[oldest.MessageID] == oldest.Copy {
			delete(s.copies, oldest.MessageID)
		}
		if s.dir != "" {
			if err := os.Remove(s.path(oldest.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, fmt.Errorf("forgetting a mail: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

// find returns the mail with an id.
func (s *store) find(id string) (Mail, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := slices.IndexFunc(s.mails, func(m Mail) bool { return m.ID == id })
	if at < 0 {
		return Mail{}, false
	}
	return s.mails[at], true
}

// list returns the newest mails that match, and whether there are more.
func (s *store) list(match func(Mail) bool, limit int) ([]Mail, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := []Mail{}
	for _, mail := range slices.Backward(s.mails) {
		if !match(mail) {
			continue
		}
		if len(found) == limit {
			return found, true
		}
		found = append(found, mail)
	}
	return found, false
}

func (s *store) path(id string) string {
	return filepath.Join(s.dir, id+".eml")
}

// writeFile writes to another name first, so that a file with a mail's name is always whole.
func (s *store) writeFile(mail Mail) error {
	if s.dir == "" {
		return nil
	}
	head, err := json.Marshal(envelope{ReceivedAt: mail.ReceivedAt, From: mail.From, To: mail.To})
	if err != nil {
		return fmt.Errorf("encoding an envelope: %w", err)
	}
	content := slices.Concat([]byte(envelopeHeader), head, []byte("\r\n"), mail.raw)
	partial := s.path(mail.ID) + ".part"
	if err = os.WriteFile(partial, content, 0o600); err == nil {
		err = os.Rename(partial, s.path(mail.ID))
	}
	if err != nil {
		_ = os.Remove(partial) // it may not even be there
		return fmt.Errorf("keeping a mail: %w", err)
	}
	return nil
}

func readFile(path string) (Mail, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Mail{}, err
	}
	head, raw, _ := bytes.Cut(content, []byte("\r\n"))
	text, ok := bytes.CutPrefix(head, []byte(envelopeHeader))
	if !ok {
		return Mail{}, errors.New("it does not begin with an envelope")
	}
	from := envelope{}
	if err := json.Unmarshal(text, &from); err != nil {
		return Mail{}, fmt.Errorf("reading its envelope: %w", err)
	}
	mail := Mail{
		ID: strings.TrimSuffix(filepath.Base(path), ".eml"), ReceivedAt: from.ReceivedAt, From: from.From, To: from.To,
		raw: raw,
	}
	mail.parse()
	return mail, nil
}
