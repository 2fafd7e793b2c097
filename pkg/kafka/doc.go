// Package kafka is how our processes use a Kafka broker: as a channel that may lose, repeat, delay and reorder.
//
// # Topics
//
// Topics gives the names; EnsureTopics makes the topics (the migrate command does, nothing else does) and CheckTopics
// refuses to start on missing ones and on other partition counts. All topics have the same number of partitions and
// the order id as key, so the records of one order have one partition number everywhere, and the range assignor gives
// equal partition numbers of all topics of a group to one member.
//
// # Producing
//
// NewProducer is idempotent with acks=all. Produce writes a slice and returns when every record is acknowledged, or with
// an error after KAFKA_DELIVERY_TIMEOUT, whatever the broker does. What it could not write may have been written all the
// same; the caller sends it again and the reader takes a repeat.
//
// # Consuming
//
// Consumer runs one loop: poll at most N records, hand them to Handle, commit their offsets, let the group rebalance.
// What came while a batch was in hand is the next one, up to N and as far as a broker tells at once.
// Handle is never called by two goroutines of one consumer, and offsets are committed after it returned nil and never
// before, so every record is handled at least once, in the order of its partition.
//
// While a batch is in hand the member keeps its partitions: nobody else handles them at the same time. That holds up
// the whole group when it takes too long, so there is an end to it. If Handle fails, the same batch is tried again with
// growing, jittered pauses for as long as HandleTimeout allows and no rebalance waits. Then the batch is given back: the
// position of each of its partitions is set back to the batch's first record, and only after that may the group
// rebalance. The order matters. The client's own position moved on when it handed out the batch; if the rebalance came
// first and the partition stayed here, the next poll would go on behind the batch, and the next commit would skip it
// for good. Whoever owns the partition next, this member or another, reads the batch again.
//
// A member that is cut off for longer than its session (a paused machine) may handle a batch that another member already
// has. Nothing here can prevent that; the rows that Handle writes are what makes it harmless.
//
// When its context ends, the consumer finishes the batch in hand within DrainTimeout, commits, leaves the group so that
// others take over at once, and closes its client.
//
// # Lost and skipped records
//
// The consumer starts a partition that has no committed offset, or whose offset is no longer there, at the oldest record
// that is left, and never at the end. That is safe because repeats are, but the records between are gone, so it is an
// alarm: an error in the log and the counters recourse_kafka_records_lost_total and recourse_kafka_data_loss_total.
// Offsets are counted to find gaps, so a topic must not be compacted and not be written in transactions.
//
// A topic that was deleted and made anew (a broker that lost its disk) is another topic to the client, which refuses it.
// Producer and consumer both notice and start again with the new one.
package kafka
