package chaos

import (
	"context"
	"slices"
	"time"

	"recourse.dev/services/standalone/stack"
)

// kind is one way in which something goes wrong.
type kind struct {
	name string
	// on lists the components that it may strike, how its variants; empty where there is nothing to choose.
	on, how []string
	// least and most bound how long it lasts.
	least, most time.Duration
	// claims names what no other fault may touch meanwhile, besides the component itself.
	claims []string
	// strike does it; heal, if there is something to heal, is called when its time is over.
	strike func(ctx context.Context, w *world, f Fault) (heal healing, err error)
}

type healing func(ctx context.Context) error

const (
	ms  = time.Millisecond
	sec = time.Second
)

// kinds is the table of everything that goes wrong. What each does stands in the fault_*.go files.
var kinds = []*kind{
	// name, on, how, at least, at most, claims, strike
	// Processes. The session of a consumer ends after 3 s, the lease of an outside call after about 5 s (shipping: 10 s).
	{"kill", processes, nil, 200 * ms, 2 * sec, nil, killProcess},
	{"freeze_short", services, nil, 500 * ms, 2 * sec, nil, freezeProcess},
	{"freeze_past_session", services, nil, 4 * sec, 6 * sec, nil, freezeProcess},
	{"freeze_past_lease", asking, nil, 10 * sec, 12 * sec, nil, freezeProcess},
	{"freeze_provider", providers, nil, 1 * sec, 4 * sec, nil, freezeProcess},
	{"roll", servicesOrAll, nil, 0, 0, nil, roll},
	{"rebalance_storm", services, nil, 6 * sec, 9 * sec, nil, storm},
	{"two_owners", services, nil, 4 * sec, 6 * sec, nil, twoOwners},
	{"second_copy_killed", services, nil, 4 * sec, 7 * sec, nil, copyKilled},

	// PostgreSQL.
	{"database_kill", nil, nil, 200 * ms, 2 * sec, ofDatabase, databaseKill},
	{"database_immediate_restart", nil, nil, 0, 1 * sec, ofDatabase, databaseQuit},
	{"database_freeze", nil, nil, 1 * sec, 4 * sec, ofDatabase, databaseFreeze},
	{"database_sessions_ended", services, nil, 1 * sec, 4 * sec, ofDatabase, sessionsEnded},
	{"database_disk_full", nil, nil, 2 * sec, 4 * sec, ofDatabase, diskFull},
	{"database_read_only", nil, nil, 1500 * ms, 4 * sec, ofDatabase, readOnly},
	{"commit_answer_lost", services, nil, 1 * sec, 3 * sec, nil, commitAnswerLost},
	{"database_link_slow", services, nil, 2 * sec, 5 * sec, nil, slowLink(postgres)},
	{"database_link_half_open", services, nil, 2 * sec, 5 * sec, nil, halfOpen(postgres)},
	{"database_link_reset", services, resets, 500 * ms, 2 * sec, nil, resetLink(postgres)},

	// Kafka.
	{"broker_kill", nil, nil, 200 * ms, 2 * sec, ofBroker, brokerKill},
	{"broker_freeze", nil, nil, 2 * sec, 7 * sec, ofBroker, brokerFreeze},
	{"broker_restart", nil, nil, 0, 0, ofBroker, brokerRestart},
	{"broker_link_slow", services, nil, 2 * sec, 5 * sec, nil, slowLink(kafka)},
	{"broker_link_half_open", services, nil, 2 * sec, 8 * sec, nil, halfOpen(kafka)},
	{"broker_link_reset", services, resets, 500 * ms, 3 * sec, nil, resetLink(kafka)},
	{"offsets_deleted", services, nil, 300 * ms, 1 * sec, ofBroker, offsetsDeleted},
	{"retention_eaten", services, nil, 1 * sec, 2 * sec, ofBroker, retentionEaten},
	{"log_wiped", nil, nil, 0, 0, ofBoth, logWiped},

	// Records.
	{"poison_records", services, nil, 0, 0, ofBroker, poisonRecords},
	{"records_repeated", services, nil, 0, 0, ofBroker, recordsAgain(false)},
	{"records_shuffled", services, nil, 0, 0, ofBroker, recordsAgain(true)},

	// Providers.
	{"provider_outage", paid, outages, 2 * sec, 5 * sec, nil, providerOutage},
	{"mail_outage", nil, nil, 2 * sec, 5 * sec, ofMail, mailOutage},
	{"answers_lost", paid, losses, 1 * sec, 4 * sec, nil, providerRule},
	{"provider_slow", paid, delays, 2 * sec, 4 * sec, nil, providerRule},
	{"webhooks_late", paid, latenesses, 2 * sec, 5 * sec, nil, webhookRule},
	{"webhooks_repeated", paid, repeats, 2 * sec, 5 * sec, nil, webhookRule},
	{"webhooks_lost", paid, webhookLosses, 2 * sec, 5 * sec, nil, webhookRule},
	{"provider_link_reset", providers, resets, 500 * ms, 2 * sec, nil, resetProviderLink},

	// Time and versions.
	{"clock_forward", services, forward, 3 * sec, 6 * sec, nil, clockStep},
	{"clock_back", services, back, 3 * sec, 6 * sec, nil, clockStep},
	{"definition_unknown", coordinators, nil, 3 * sec, 5 * sec, nil, definitionUnknown},
}

// What the table's faults strike.
var (
	coordinators  = []string{stack.Coordinator}
	paid          = []string{stack.GatewaySim, stack.CarrierSim}
	asking        = []string{stack.Payment, stack.Shipping, stack.Notification}
	processes     = append(slices.Clone(services), providers...)
	servicesOrAll = append(slices.Clone(services), everything)
)

// The variants; those of providers are sandbox's kinds.
var (
	outages       = []string{"close", "status_503"}
	losses        = []string{"drop_after", "status_500", "drop_before", "status_429"}
	delays        = []string{"delay", "late_effect"}
	latenesses    = []string{"late", "reorder"}
	repeats       = []string{"duplicate"}
	webhookLosses = []string{"drop", webhookCut}
	forward       = []string{"+3s", "+2m", "+1h"}
	back          = []string{"-3s", "-2m", "-1h"}
)

// What nobody else may touch meanwhile.
var (
	ofDatabase = []string{postgres}
	ofBroker   = []string{kafka}
	ofBoth     = []string{postgres, kafka}
	ofMail     = []string{stack.MailSink}
)

// everything stands for all services, one after the other.
const everything = "all"

func kindOf(name string) *kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}

// claimed is what no other fault may touch while this one lasts.
func (f Fault) claimed() []string {
	k := kindOf(f.Kind)
	list := slices.Clone(k.claims)
	switch {
	case f.On == everything:
		list = append(list, services...)
	case f.On != "":
		list = append(list, f.On)
	}
	return list
}
