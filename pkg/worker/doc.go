// Package worker is the SDK of a participant: a service that makes and takes back effects for sagas.
//
// A domain author writes functions that take a slice of commands and a transaction and say, for each command, what
// became of it. Everything else is here: reading and answering, duplicates, reordering, refusals that stay refused,
// undos that come too early, outside calls that nobody answers, records that cannot be read, panics, two owners of one
// partition, and a process that dies on any line.
//
//	w, err := worker.New(worker.Config{Participant: "inventory", Kafka: kafkaConfig}, pool, log, registry)
//	worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{Do: reserve, Undo: release})
//	err = w.Run(ctx)
//
// The example of this package is a whole participant. Package workertest tests one without a broker.
//
// # The protocol
//
// The coordinator sends a do or an undo of an effect, known by its effect key: saga, step and generation. It sends it
// again until it gets an answer, and the channel may lose, repeat, delay and reorder what it carries. So a participant
// keeps one row per effect key, in the same database as its domain and written in the same transaction. That row is
// inbox, barrier, tombstone and stored reply at once, and what it says decides about every command:
//
//	row                     a do arrives              an undo arrives
//	absent                  run it, store the reply   store the tombstone void, reply undone(nothing)
//	in_doubt                reply in_doubt, no call   remember the wish, reply in_doubt
//	done                    repeat the stored reply   run the undo
//	refused                 repeat the stored reply   reply undone(nothing)
//	void                    reply fenced              repeat the stored reply
//	undo_in_doubt           reply fenced              reply in_doubt, no call
//	undone                  reply fenced              repeat the stored reply
//
// The table is code, in row.go, and the simulator runs the same code. Three of its cells carry the product's promise:
//
//   - An undo is also a fence. When it comes before its do it leaves a tombstone, and once it is answered no do of that
//     effect can ever happen.
//   - A refusal is stored. A do that was refused and is delivered again after the reason has passed is still refused,
//     because the saga may have gone another way meanwhile.
//   - In doubt is a state. A call that timed out has neither worked nor failed; it is asked about until it is known.
//
// Each new fact about an effect raises the row's effect_seq, and a reply carries the number of its fact, so that the
// coordinator orders facts by what happened here and not by when it heard. A done has 1 and its undone 2; a tombstone
// has 1. Replies that state no fact (retry, in_doubt) have 0.
//
// # A poll is one transaction
//
// Process decodes the records, loads and locks in one statement the rows of all commands that may be repeats (a
// young first send is taken for new, and the primary key refuses that if it is wrong), decides each from the table,
// hands the new ones to the domain as a slice per kind of command, stores all rows with one INSERT and one UPDATE,
// and commits. Then the replies are produced and acknowledged, and then the offsets are committed. The number of
// statements does not depend on the number of records. Several commands for one effect in a poll are applied in
// turn, in the order of arrival.
//
// Between any two of these lines the process may die. Before the commit nothing has happened; after it, the rows know.
// The records come again and are answered from their rows.
//
// Two owners of one partition are possible for a while (a process that was paused and does not know that its
// partitions were given away). Known rows are locked; for new ones the slower owner runs into the primary key, rolls
// back, and finds the other's rows.
//
// # Outside calls
//
// A CallHandler speaks to somebody who is not in the transaction. Prepare writes the intent and the row goes to
// in_doubt, in the transaction of the poll. After the commit Call asks; the poll loop goes on meanwhile. Settle
// writes down what has come back, for all answers at hand in one transaction, and the reply follows.
//
// An error from Call means that the outcome is unknown, never that there is none. The row then says when to ask next,
// and the resolver of any process of this participant calls Call again with the same effect key and Probe > 0: after
// 1 s, 5 s, 15 s, 1 min, 5 min, 15 min, and every hour. While a call is on its way the row carries a lease instead, so
// that nobody asks at the same time; when the process dies, the lease ends and another asks. A participant whose call
// is settled late speaks first: its reply carries attempt 0.
//
// An undo that arrives in between is remembered, and carried out when the do turns out done.
//
// # What is forgotten
//
// Rows of settled effects are deleted after Config.KeepSteps, by the age of their sagas, and the time before which rows
// may be missing is kept as a mark. A command of a saga from before the mark, or issued before it, that finds no row is
// parked as too_old and not run: a do whose tombstone is gone can never take effect, and an undo never says that there was
// nothing when nobody knows any more. What is being asked about outside is not forgotten. See prune.go.
//
// # What goes wrong
//
//   - A record that cannot be read, or that this build does not know, is parked with its bytes (package deadletter).
//   - A handler that panics, returns the wrong number of outcomes, returns an error or breaks a constraint rolls the
//     batch back. The batch is halved, each half in its own transaction, until the culprit stands alone. It is parked;
//     everything else goes through. A parked command is answered by nobody: the coordinator raises attention.
//   - A Settle that fails so is not parked, since there is no record: its effect stays in doubt and is asked again.
//   - A database that is away, read-only, full or of the wrong schema pauses the batch. It never parks a record.
//   - A broker that is away keeps the replies waiting. Should they be lost with the process, the coordinator's resend
//     gets the stored ones.
package worker
