// Package mailsink takes mails by SMTP and keeps them, so that a developer can look at what would have been sent and
// a test can count it. It delivers nothing to anybody.
//
// Mails are kept in memory, the newest Config.Keep of them, and with Config.Dir as .eml files too, which are written
// before the mail is accepted and read again at the next start. The first line of such a file is the envelope
// (X-Mailsink-Envelope), the rest is the mail as it came.
//
// # HTTP
//
//	GET    /                       the list, for a person
//	GET    /mails/{id}             one mail, its HTML in a sandboxed frame
//	GET    /mails/{id}/raw         the mail as it came
//	GET    /v1/mails?to=&message_id=&order=&limit=   newest first; order is the mail's X-Recourse-Order header
//	GET    /v1/mails/{id}
//	DELETE /v1/mails               forgets all
//	GET    /livez, /readyz         200
//
// A mail is
//
//	{"id":"20260102T030405.678901-abcdef", "received_at":"2026-01-02T03:04:05.678Z", "from":"shop@example.com",
//	 "to":["ada@example.com"], "message_id":"<...>", "order_id":"...", "subject":"...", "text":"...", "html":"...",
//	 "size":1234, "copy":1}
//
// and a list {"mails":[...], "has_more":false}. from and to are the envelope's. copy counts the mails with one
// Message-ID: 2 means that the sender tried again although the first try had arrived. A mail that is not in the form
// of one is kept all the same; "problem" says what is wrong with it.
//
// # Faults by recipient
//
// The local part of a recipient, up to a plus sign, chooses how the mail fares; the table is in trigger.go.
//
//	bounce              the recipient is refused for good: 550
//	tempfail            the recipient is refused for now: 451
//	tempfail-once       the same, the first time that this recipient is named
//	data-bounce         the content is refused for good: 554
//	data-tempfail       the content is refused for now: 451
//	drop-after-data     the mail is kept and the connection closed without an answer, the first time for a Message-ID
//	drop-before-data    the connection is closed without an answer, nothing is kept; the first time for a Message-ID
//	slow                the mail is kept, the answer comes after Config.SlowDelay
//
// So bounce+order-7@example.com bounces. Anything else is accepted.
package mailsink
