// Package sandbox is what the simulated providers (card gateway, parcel carrier, mail server) have in common: an HTTP
// server that can be told to misbehave, and a ledger file that survives being killed.
//
// A simulator is worth having only if it is harder on its callers than the real thing and never lies about what
// happened. So the parts are:
//
//   - Journal: append-only JSON lines. A line counts once its newline is there; a torn last line is cut off at the
//     next start, which is right because its answer was never sent.
//   - Faults: rules set by route, struck by count or probability, and the Plan that they make of one request.
//   - Provider: runs a request by its plan: refuse it, delay it, do it and lose the answer, do it after the caller
//     has left. It also serves the admin calls that set rules and outages.
//   - Hooks: sends what the provider tells by itself, again and again until it is taken, also after a restart; and
//     drops, delays, doubles or reorders it when told so.
//   - Server: listens, runs until its context ends, and drains.
//
// # A lost answer
//
// Closing the connection is not enough. Go's http.Transport repeats a request by itself when a reused connection
// closes before the first byte of an answer, if the request has an Idempotency-Key or is a GET; the caller would
// then never see the fault. So a few bytes of a status line are sent first: an answer that begins and breaks is not
// repeated by any client.
package sandbox
