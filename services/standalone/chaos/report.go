package chaos

// Report is what a run ends with; the last line of the command is this as JSON.
type Report struct {
	// Sagas is the number of orders that the coordinator has; malformed ones are not among them.
	Sagas int `json:"sagas"`
	// Faults counts those that were brought about, by kind.
	Faults map[string]int `json:"faults"`
	// FaultsFailed counts those that could not be brought about.
	FaultsFailed int `json:"faults_failed"`
	// Lost orders were accepted and cannot be found, or have not ended when all was quiet.
	Lost int `json:"lost"`
	// Doubled counts effects that happened twice, and orders that were made twice or that nobody placed.
	Doubled  int `json:"doubled"`
	Oversold int `json:"oversold"`
	// HeldAfterUndo counts orders that ended without completing and still hold something.
	HeldAfterUndo    int `json:"held_after_undo"`
	MoneyDifferences int `json:"money_differences"`
	// FalseClaims counts orders about which something was said that was not true, or not yet.
	FalseClaims int `json:"false_claims"`
	// Parked counts records of real orders that were parked as dead letters.
	Parked int `json:"parked"`
	// Died counts processes that ended although nobody ended them.
	Died int `json:"died"`
	// SecondsToQuiet is from the last healing to the end of the last order; -1 if that did not come.
	SecondsToQuiet float64 `json:"seconds_to_quiet"`
	// Sometimes counts the rare things that happened; Never lists those that a run must meet and did not.
	Sometimes map[string]int `json:"sometimes"`
	Never     []string       `json:"never,omitempty"`
	ByStatus  map[string]int `json:"by_status"`
	Seconds   float64        `json:"seconds"`
	Seed      uint64         `json:"seed"`

	// Findings says every difference in words.
	Findings []string `json:"-"`
	// Artefacts is where everything is kept.
	Artefacts string `json:"artefacts,omitempty"`
}

// OK says that nothing is wrong.
func (r *Report) OK() bool {
	wrong := r.Lost + r.Doubled + r.Oversold + r.HeldAfterUndo + r.MoneyDifferences + r.FalseClaims
	return wrong+r.Parked+r.Died+r.FaultsFailed == 0 && r.SecondsToQuiet >= 0 && len(r.Never) == 0
}

// musts are the rare things that a run with enough faults has to meet: what it did not meet, it has not tested.
var musts = []string{
	"tombstone_stored", "tombstone_hit", "reply_repeated", "refusal_replayed", "late_reply", "commit_answer_lost",
	"batch_tried_again", "batch_given_back", "resent", "undo_resent", "unknown_payment_resolved_done",
	"unknown_payment_resolved_refused", "poison_parked", "log_wiped_with_orders_open", "records_lost_noticed",
	"log_loss_noticed", "key_replayed", "asked_again_in_doubt",
	"unknown_definition_left_alone", "webhook_repeated", "webhook_settled_a_doubt",
}

// mustFaults is the number of faults from which on a run has to have met all of them.
const mustFaults = 150
