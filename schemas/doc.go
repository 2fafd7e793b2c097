// Package schemas holds the contracts of Recourse: protobuf messages of the
// Kafka topics (proto, generated into gen/recourse) and OpenAPI documents of
// the REST APIs (openapi, generated into gen/api).
//
// Change a contract in its source file and run `task generate`; CI generates
// again and refuses a difference.
package schemas

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate
