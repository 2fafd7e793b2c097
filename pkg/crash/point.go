package crash

// Name is a place in the code where a test can strike the process.
type Name string

// The participant's batch, its outside calls and its end (pkg/worker), in the order in which a command meets them.
const (
	WorkerAfterPoll          Name = "worker.after_poll"
	WorkerAfterLoad          Name = "worker.after_load"
	WorkerAfterRepeat        Name = "worker.after_repeat"
	WorkerAfterHandle        Name = "worker.after_handle"
	WorkerAfterPark          Name = "worker.after_park"
	WorkerBeforeCommit       Name = "worker.before_commit"
	WorkerAfterCommit        Name = "worker.after_commit"
	WorkerAfterProduce       Name = "worker.after_produce"
	WorkerAfterClaim         Name = "worker.after_claim"
	WorkerBeforeCall         Name = "worker.before_call"
	WorkerAfterAnswer        Name = "worker.after_answer"
	WorkerAfterCall          Name = "worker.after_call"
	WorkerBeforeSettleCommit Name = "worker.before_settle_commit"
	WorkerAfterSettleCommit  Name = "worker.after_settle_commit"
	WorkerAfterSettleProduce Name = "worker.after_settle_produce"
	WorkerAfterPrune         Name = "worker.after_prune"
	WorkerAfterDrain         Name = "worker.after_drain"
)

// The coordinator's doors and its one write path, in the order in which an event meets them.
const (
	CoordinatorAfterPoll          Name = "coordinator.after_poll"
	CoordinatorAfterPark          Name = "coordinator.after_park"
	CoordinatorAfterScan          Name = "coordinator.after_scan"
	CoordinatorAfterTake          Name = "coordinator.after_take"
	CoordinatorAfterLoad          Name = "coordinator.after_load"
	CoordinatorAfterDecide        Name = "coordinator.after_decide"
	CoordinatorAfterCommit        Name = "coordinator.after_commit"
	CoordinatorAfterAnnounce      Name = "coordinator.after_announce"
	CoordinatorAfterProduce       Name = "coordinator.after_produce"
	CoordinatorBeforeOffsets      Name = "coordinator.before_offsets"
	CoordinatorBeforeAcceptCommit Name = "coordinator.before_accept_commit"
	CoordinatorAfterAcceptCommit  Name = "coordinator.after_accept_commit"
	CoordinatorBeforeAnswer       Name = "coordinator.before_answer"
	CoordinatorBeforeVerbAnswer   Name = "coordinator.before_verb_answer"
	CoordinatorAfterLateProduce   Name = "coordinator.after_late_produce"
)

// What the coordinator does beside: domain events, its start, its end, and keeping house.
const (
	CoordinatorAfterEvents       Name = "coordinator.after_events"
	CoordinatorAfterMark         Name = "coordinator.after_mark"
	CoordinatorAfterRelayClaim   Name = "coordinator.after_relay_claim"
	CoordinatorAfterDefinitions  Name = "coordinator.after_definitions"
	CoordinatorAfterPartitions   Name = "coordinator.after_partitions"
	CoordinatorAfterLowWater     Name = "coordinator.after_low_water"
	CoordinatorAfterIntakeClosed Name = "coordinator.after_intake_closed"
	CoordinatorAfterFlush        Name = "coordinator.after_flush"
)

// What several members share (pkg/kafka, pkg/deadletter, pkg/webhook/inbox), and what single participants do by themselves.
const (
	ConsumerAfterOffsets    Name = "consumer.after_offsets"
	DeadletterAfterRedrive  Name = "deadletter.after_redrive"
	InboxAfterStore         Name = "inbox.after_store"
	InboxAfterProcess       Name = "inbox.after_process"
	InventoryAfterExpire    Name = "inventory.after_expire"
	InventoryAfterSweep     Name = "inventory.after_sweep"
	PaymentAfterPlan        Name = "payment.after_plan"
	ShippingAfterBooking    Name = "shipping.after_booking"
	ShippingAfterIntent     Name = "shipping.after_intent"
	NotificationAfterClaims Name = "notification.after_claims"
	NotificationAfterIntent Name = "notification.after_intent"
	NotificationAfterSend   Name = "notification.after_send"
)

// place is a point and what cannot be done there.
type place struct {
	name Name
	// deaf says why mode error has no meaning: what stands before the point cannot fail.
	deaf string
}

var places = []place{
	{name: WorkerAfterPoll},
	{name: WorkerAfterLoad},
	{name: WorkerAfterRepeat},
	{name: WorkerAfterHandle},
	{name: WorkerAfterPark},
	{name: WorkerBeforeCommit},
	{name: WorkerAfterCommit},
	{name: WorkerAfterProduce},
	{name: WorkerAfterClaim},
	{name: WorkerBeforeCall},
	{name: WorkerAfterAnswer},
	{name: WorkerAfterCall},
	{name: WorkerBeforeSettleCommit},
	{name: WorkerAfterSettleCommit},
	{name: WorkerAfterSettleProduce},
	{name: WorkerAfterPrune},
	{name: WorkerAfterDrain},
	{name: CoordinatorAfterPoll},
	{name: CoordinatorAfterPark},
	{name: CoordinatorAfterScan},
	{name: CoordinatorAfterTake, deaf: "alarms are taken from memory"},
	{name: CoordinatorAfterLoad},
	{name: CoordinatorAfterDecide},
	{name: CoordinatorAfterCommit},
	{name: CoordinatorAfterAnnounce, deaf: "the other parts of the process are told in memory"},
	{name: CoordinatorAfterProduce},
	{name: CoordinatorBeforeOffsets},
	{name: CoordinatorBeforeAcceptCommit},
	{name: CoordinatorAfterAcceptCommit},
	{name: CoordinatorBeforeAnswer},
	{name: CoordinatorBeforeVerbAnswer},
	{name: CoordinatorAfterLateProduce},
	{name: CoordinatorAfterEvents},
	{name: CoordinatorAfterMark},
	{name: CoordinatorAfterRelayClaim},
	{name: CoordinatorAfterDefinitions},
	{name: CoordinatorAfterPartitions},
	{name: CoordinatorAfterLowWater},
	{name: CoordinatorAfterIntakeClosed, deaf: "closing the intake only waits"},
	{name: CoordinatorAfterFlush},
	{name: ConsumerAfterOffsets},
	{name: DeadletterAfterRedrive},
	{name: InboxAfterStore},
	{name: InboxAfterProcess},
	{name: InventoryAfterExpire},
	{name: InventoryAfterSweep},
	{name: PaymentAfterPlan},
	{name: ShippingAfterBooking},
	{name: ShippingAfterIntent},
	{name: NotificationAfterClaims},
	{name: NotificationAfterIntent},
	{name: NotificationAfterSend},
}

func find(name Name) (place, bool) {
	for _, p := range places {
		if p.name == name {
			return p, true
		}
	}
	return place{}, false
}

// Points lists every name, so that a test can run through all of them.
func Points() []Name {
	names := make([]Name, len(places))
	for i, p := range places {
		names[i] = p.name
	}
	return names
}

// Without says why a mode has no meaning at a point; it is empty where it has one.
func Without(name Name, mode Mode) (reason string) {
	if p, _ := find(name); mode == Error {
		return p.deaf
	}
	return ""
}
