// Package schemas holds the contracts of Recourse: protobuf messages of the
// Kafka topics (proto, generated into gen/recourse), OpenAPI documents of
// the REST APIs (openapi, generated into gen/api), and the AsyncAPI document of
// the public events (asyncapi).
//
// Change a contract in its source file and run `task generate`; CI generates
// again and refuses a difference.
package schemas

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config openapi/coordinator.cfg.yaml openapi/coordinator.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config openapi/inventory.cfg.yaml openapi/inventory.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config openapi/payment.cfg.yaml openapi/payment.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config openapi/shipping.cfg.yaml openapi/shipping.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config openapi/notification.cfg.yaml openapi/notification.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config openapi/audit.cfg.yaml openapi/audit.yaml
