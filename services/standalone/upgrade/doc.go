// Package upgrade rolls a loaded system from one version's binaries to
// another's, back, and forward again, and checks that nothing is lost.
//
// It starts the platform from the old binaries, keeps orders coming all the
// time, and plays what an operator does:
//
//	forward   migrate with the new binaries, then replace the workers, then the coordinator
//	back      the old binaries on the new schema, the coordinator first
//	forward   again, the coordinator first
//
// Each service is replaced one process at a time: the other version starts
// beside the one that serves, both work for a while, then the first one drains.
// So every pair of versions meets: old and new workers of one participant, old
// coordinator with new workers, new coordinator with old workers, old binaries on
// the new schema.
package upgrade
