package crash

import "slices"

// Name is a place in the code where a test can end the process.
type Name string

// The participant's batch (pkg/worker), in the order in which a record meets them.
const (
	WorkerAfterPoll          Name = "worker.after_poll"
	WorkerAfterLoad          Name = "worker.after_load"
	WorkerAfterHandle        Name = "worker.after_handle"
	WorkerBeforeCommit       Name = "worker.before_commit"
	WorkerAfterCommit        Name = "worker.after_commit"
	WorkerAfterProduce       Name = "worker.after_produce"
	WorkerBeforeOffsets      Name = "worker.before_offsets"
	WorkerAfterCall          Name = "worker.after_call"
	WorkerBeforeSettleCommit Name = "worker.before_settle_commit"
	WorkerAfterSettleCommit  Name = "worker.after_settle_commit"
)

// The coordinator's one write path and its doors, in the order in which an event meets them.
const (
	CoordinatorAfterPoll     Name = "coordinator.after_poll"
	CoordinatorAfterLoad     Name = "coordinator.after_load"
	CoordinatorAfterDecide   Name = "coordinator.after_decide"
	CoordinatorBeforeCommit  Name = "coordinator.before_commit"
	CoordinatorAfterCommit   Name = "coordinator.after_commit"
	CoordinatorAfterProduce  Name = "coordinator.after_produce"
	CoordinatorAfterEvents   Name = "coordinator.after_events"
	CoordinatorBeforeOffsets Name = "coordinator.before_offsets"
	CoordinatorBeforeAnswer  Name = "coordinator.before_answer"
)

var points = []Name{
	WorkerAfterPoll,
	WorkerAfterLoad,
	WorkerAfterHandle,
	WorkerBeforeCommit,
	WorkerAfterCommit,
	WorkerAfterProduce,
	WorkerBeforeOffsets,
	WorkerAfterCall,
	WorkerBeforeSettleCommit,
	WorkerAfterSettleCommit,
	CoordinatorAfterPoll,
	CoordinatorAfterLoad,
	CoordinatorAfterDecide,
	CoordinatorBeforeCommit,
	CoordinatorAfterCommit,
	CoordinatorAfterProduce,
	CoordinatorAfterEvents,
	CoordinatorBeforeOffsets,
	CoordinatorBeforeAnswer,
}

// Points lists every name, so that a test can run through all of them.
func Points() []Name {
	return slices.Clone(points)
}
