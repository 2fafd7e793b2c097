package mailsink_test

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/mailsink"
)

func FuzzMail(f *testing.F) {
	f.Add([]byte(mailTo("ada@example.com", id(1))))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n"))
	f.Add([]byte("Subject: =?x?q?=FF?=\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		mail := mailsink.Parse(raw)
		require.Equal(t, len(raw), mail.Size)
		require.True(t, utf8.ValidString(mail.Text) && utf8.ValidString(mail.HTML))
	})
}
