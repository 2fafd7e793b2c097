// Package chaos runs the whole platform as real processes on a real Apache Kafka and a real PostgreSQL, with a proxy on
// every link between them, lets shops place orders, and breaks one thing after the other. Afterwards every order must
// have ended right: the books of the coordinator, the participants and the providers agree, and what was ever claimed
// about an order was true when it was claimed.
//
// A run follows a Plan, which is drawn from a seed and kept as a file. The plan says which orders are placed
// (orders.go) and which faults strike (kinds.go) after how many of them. The clients (shop.go) log every request and
// answer, repeat what nobody answered under the same Idempotency-Key, and follow each order to its end. When all faults
// are healed and all orders placed, the run waits until everything is quiet and judges (verdict.go).
//
// What runs where:
//
//	services            a process each, of the binary that runs this (stack); supervised, as a platform would (unit.go)
//	PostgreSQL          one cluster of its own; its files on a tmpfs that can be filled where root runs it (database.go)
//	Kafka               one broker, a process of its own, with a listener for every service (broker.go)
//	links               service-PostgreSQL, service-Kafka, payment-gateway, shipping-carrier, notification-mail (link.go)
//	provider simulators processes with ledgers that are on the disk before an answer is sent: the ground truth
package chaos
