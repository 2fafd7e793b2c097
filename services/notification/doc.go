// Package notification is the participant that tells customers: it sends the confirmation of an order by SMTP, once,
// and only while what it says is so.
//
// # Who says what
//
// The command SendConfirmation comes from the order's saga, over pkg/worker (handler.go); the step is optional, so a
// refusal holds no order up. Mails are handed over through the port in mailer.go. The orders events topic tells which
// orders are being undone (claim.go). What is known is in this service's own database (store.go, store_query.go), texts
// are templates in it (template.go), and the rules are pure (notification.go). The API (routes.go) only reads.
//
// # Once
//
// A mail server has no idempotency key and cannot be asked what it has. So this is what is promised:
//
//   - Of each order, template and occurrence there is one notification that is not proven to have stayed here.
//   - A try is stored before it is made. A try that a process died in, or whose answer was lost after the content had
//     gone out, may have been delivered.
//   - After one such try there is one more, with the same bytes and the same Message-ID, so that a receiver can drop
//     the second. After two there is none: the state is unknown, and the step is refused with delivery_unknown.
//   - Whatever fails before the content has gone out, and whatever the server refuses for now, is tried again until
//     GIVE_UP_AFTER has passed.
//
// # True
//
// Between the command and the mail an order may have been closed or cancelled. Each try looks at the order's claim in
// the same statement that stores it, and is suppressed when the order is over. A claim that has not arrived yet changes
// nothing: then the command is the newest word.
package notification
