// Package httpserver is the HTTP side of every process: one echo server with limits, health, metrics and problems.
//
//	server, err := httpserver.New(httpserver.Options{Addr: config.HTTPAddr, Spec: spec, Checks: checks, Log: log, ...})
//	api.RegisterHandlers(server.Echo(), handlers)
//	... server.Component() goes last into service.Run, so that it stops first
//
// # Requests
//
// A request passes, from outside in: request id, metrics, recovery from panics, the bound on requests at a time, the
// refusal of foreign web pages, what Options.Before adds, tracing, the body's limits, and for operations of the OpenAPI
// document the validation of parameters and body. What is refused on the way to the tracing costs little and leaves no
// span. A handler sees only requests that the document allows. Every body is read whole before the handler runs: it is
// at most BodyLimit long and must have arrived within ReadTimeout, so a slow sender never holds a handler.
//
// # Errors
//
// Every error leaves as application/problem+json (RFC 9457) with a stable code from the table in code.go, each of which
// has its page in docs/problems. A handler returns NewProblem(...) as its error. Everything else it returns is mapped in
// one place: what Options.Unavailable recognises (a database or a broker that is away) becomes 503 with Retry-After, the
// rest becomes 500 without a word of its text, which goes to the log once, under the request id that the client sees too.
//
// # Streams
//
// There is no global write timeout, which would cut a stream of server-sent events off. Each response has WriteTimeout;
// EventStream gives each event its own and ends when the server stops.
//
// # Stopping
//
// When its context ends, the server turns /readyz red, stops listening, lets requests finish and ends the streams.
package httpserver
