package mailsink

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// Mail is one mail as it was accepted.
type Mail struct {
	ID         string    `json:"id"`
	ReceivedAt time.Time `json:"received_at"`
	// From and To are the envelope's, which need not be those in the headers.
	From      string   `json:"from"`
	To        []string `json:"to"`
	MessageID string   `json:"message_id"`
	OrderID   string   `json:"order_id"`
	Subject   string   `json:"subject"`
	Text      string   `json:"text"`
	HTML      string   `json:"html"`
	Size      int      `json:"size"`
	// Copy counts the mails with this Message-ID, this one included.
	Copy int `json:"copy"`
	// Problem says why the mail could not be read; empty for a good one.
	Problem string `json:"problem,omitempty"`

	raw []byte
}

// Raw is the mail as it came.
func (m Mail) Raw() []byte {
	return bytes.Clone(m.raw)
}

// maxDepth bounds how deep multiparts are nested: mails come from anywhere.
const maxDepth = 8

// parse reads headers and the first text and HTML part. What cannot be read is a Problem of the mail, never an error:
// the sink keeps what it was given.
func (m *Mail) parse() {
	m.Size = len(m.raw)
	message, err := mail.ReadMessage(bytes.NewReader(m.raw))
	if err != nil {
		m.Problem = fmt.Sprintf("reading the headers: %v", err)
		return
	}
	m.MessageID = strings.TrimSpace(message.Header.Get("Message-Id"))
	m.OrderID = message.Header.Get("X-Recourse-Order")
	m.Subject = message.Header.Get("Subject")
	if decoded, err := new(mime.WordDecoder).DecodeHeader(m.Subject); err == nil {
		m.Subject = decoded
	}
	part := part{
		contentType: message.Header.Get("Content-Type"), encoding: message.Header.Get("Content-Transfer-Encoding"),
		body: message.Body,
	}
	if err := m.readPart(part, 0); err != nil {
		m.Problem = fmt.Sprintf("reading the content: %v", err)
	}
}

type part struct {
	contentType, encoding string
	body                  io.Reader
}

func (m *Mail) readPart(p part, depth int) error {
	if p.contentType == "" {
		p.contentType = "text/plain"
	}
	kind, params, err := mime.ParseMediaType(p.contentType)
	if err != nil {
		return fmt.Errorf("content type %q: %w", p.contentType, err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		return m.readParts(multipart.NewReader(p.body, params["boundary"]), depth+1)
	}
	into := &m.Text
	if kind == "text/html" {
		into = &m.HTML
	}
	if !strings.HasPrefix(kind, "text/") || *into != "" {
		return nil // an attachment
	}
	body := p.body
	switch strings.ToLower(strings.TrimSpace(p.encoding)) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, err := io.ReadAll(body)
	*into = strings.ToValidUTF8(string(text), "\uFFFD")
	return err
}

func (m *Mail) readParts(parts *multipart.Reader, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("multiparts are nested more than %d deep", maxDepth)
	}
	for {
		// NextRawPart, because NextPart would decode quoted-printable a second time.
		next, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		header := next.Header
		err = m.readPart(part{
			contentType: header.Get("Content-Type"), encoding: header.Get("Content-Transfer-Encoding"), body: next,
		}, depth)
		if err != nil {
			return err
		}
	}
}
