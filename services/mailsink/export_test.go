package mailsink

// Parse reads a mail without a conversation, for fuzzing.
func Parse(raw []byte) Mail {
	mail := Mail{raw: raw}
	mail.parse()
	return mail
}
