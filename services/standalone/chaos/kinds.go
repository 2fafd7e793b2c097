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
	// Processes. The session of a consumer ends after 3 s, the lease of an outside call after about 5 s (shipping: 10 s).
	{name: "kill", on: append(slices.Clone(services), stack.GatewaySim, stack.CarrierSim, stack.MailSink), least: 200 * ms, most: 2 * sec, strike: killProcess},
	{name: "freeze_short", on: services, least: 500 * ms, most: 2 * sec, strike: freezeProcess},
	{name: "freeze_past_session", on: services, least: 4 * sec, most: 6 * sec, strike: freezeProcess},
	{name: "freeze_past_lease", on: []string{stack.Payment, stack.Shipping, stack.Notification}, least: 10 * sec, most: 12 * sec, strike: freezeProcess},
	{name: "freeze_provider", on: providers, least: 1 * sec, most: 4 * sec, strike: freezeProcess},
	{name: "roll", on: append(slices.Clone(services), everything), strike: roll},
	{name: "rebalance_storm", on: services, least: 6 * sec, most: 9 * sec, strike: storm},
	{name: "two_owners", on: services, least: 4 * sec, most: 6 * sec, strike: twoOwners},
	{name: "second_copy_killed", on: services, least: 4 * sec, most: 7 * sec, strike: copyKilled},

	// PostgreSQL.
	{name: "database_kill", least: 200 * ms, most: 2 * sec, claims: []string{postgres}, strike: databaseKill},
	{name: "database_immediate_restart", least: 0, most: 1 * sec, claims: []string{postgres}, strike: databaseQuit},
	{name: "database_freeze", least: 1 * sec, most: 4 * sec, claims: []string{postgres}, strike: databaseFreeze},
	{name: "database_sessions_ended", on: services, least: 1 * sec, most: 4 * sec, claims: []string{postgres}, strike: sessionsEnded},
	{name: "database_disk_full", least: 2 * sec, most: 4 * sec, claims: []string{postgres}, strike: diskFull},
	{name: "database_read_only", least: 1500 * ms, most: 4 * sec, claims: []string{postgres}, strike: readOnly},
	{name: "commit_answer_lost", on: services, least: 1 * sec, most: 3 * sec, strike: commitAnswerLost},
	{name: "database_link_slow", on: services, least: 2 * sec, most: 5 * sec, strike: slowLink(postgres)},
	{name: "database_link_half_open", on: services, least: 2 * sec, most: 5 * sec, strike: halfOpen(postgres)},
	{name: "database_link_reset", on: services, how: resets, least: 500 * ms, most: 2 * sec, strike: resetLink(postgres)},

	// Kafka.
	{name: "broker_kill", least: 200 * ms, most: 2 * sec, claims: []string{kafka}, strike: brokerKill},
	{name: "broker_freeze", least: 2 * sec, most: 7 * sec, claims: []string{kafka}, strike: brokerFreeze},
	{name: "broker_restart", claims: []string{kafka}, strike: brokerRestart},
	{name: "broker_link_slow", on: services, least: 2 * sec, most: 5 * sec, strike: slowLink(kafka)},
	{name: "broker_link_half_open", on: services, least: 2 * sec, most: 8 * sec, strike: halfOpen(kafka)},
	{name: "broker_link_reset", on: services, how: resets, least: 500 * ms, most: 3 * sec, strike: resetLink(kafka)},
	{name: "offsets_deleted", on: services, least: 300 * ms, most: 1 * sec, claims: []string{kafka}, strike: offsetsDeleted},
	{name: "retention_eaten", on: services, least: 1 * sec, most: 2 * sec, claims: []string{kafka}, strike: retentionEaten},
	{name: "log_wiped", claims: []string{kafka, postgres}, strike: logWiped},

	// Records.
	{name: "poison_records", on: services, claims: []string{kafka}, strike: poisonRecords},
	{name: "records_repeated", on: services, claims: []string{kafka}, strike: recordsAgain(false)},
	{name: "records_shuffled", on: services, claims: []string{kafka}, strike: recordsAgain(true)},

	// Providers.
	{name: "provider_outage", on: []string{stack.GatewaySim, stack.CarrierSim}, how: []string{"close", "status_503"}, least: 2 * sec, most: 5 * sec, strike: providerOutage},
	{name: "mail_outage", least: 2 * sec, most: 5 * sec, claims: []string{stack.MailSink}, strike: mailOutage},
	{name: "answers_lost", on: []string{stack.GatewaySim, stack.CarrierSim}, how: []string{"drop_after", "status_500", "drop_before", "status_429"}, least: 1 * sec, most: 4 * sec, strike: providerRule},
	{name: "provider_slow", on: []string{stack.GatewaySim, stack.CarrierSim}, how: []string{"delay", "late_effect"}, least: 2 * sec, most: 4 * sec, strike: providerRule},
	{name: "webhooks_late", on: webhookers, how: []string{"late", "reorder"}, least: 2 * sec, most: 5 * sec, strike: webhookRule},
	{name: "webhooks_repeated", on: webhookers, how: []string{"duplicate"}, least: 2 * sec, most: 5 * sec, strike: webhookRule},
	{name: "webhooks_lost", on: webhookers, how: []string{"drop", webhookCut}, least: 2 * sec, most: 5 * sec, strike: webhookRule},
	{name: "provider_link_reset", on: providers, how: resets, least: 500 * ms, most: 2 * sec, strike: resetProviderLink},

	// Time and versions.
	{name: "clock_forward", on: services, how: []string{"+3s", "+2m", "+1h"}, least: 3 * sec, most: 6 * sec, strike: clockStep},
	{name: "clock_back", on: services, how: []string{"-3s", "-2m", "-1h"}, least: 3 * sec, most: 6 * sec, strike: clockStep},
	{name: "definition_unknown", on: []string{stack.Coordinator}, least: 3 * sec, most: 5 * sec, strike: definitionUnknown},
}

var webhookers = []string{stack.GatewaySim, stack.CarrierSim}

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
