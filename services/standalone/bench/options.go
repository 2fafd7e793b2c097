package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The workloads.
const (
	// ThreeStep is reserve, pay, ship, with participants that do nothing but keep their books.
	ThreeStep = "three-step"
	// Fulfilment is the shipped order saga with the real services and simulated providers, which are reached without
	// sockets.
	Fulfilment = "fulfilment"
	// HTTP is Fulfilment with orders that come over the REST API and providers that are reached over HTTP.
	HTTP = "http"
	// HotSKU is Fulfilment with orders that all want one SKU, beside orders that do not.
	HotSKU = "hot-sku"
	// IntakeOnly is orders over the REST API to the coordinators of ThreeStep, whose participants are stopped until the last
	// order is accepted.
	IntakeOnly = "intake"
)

// Workloads lists them.
var Workloads = []string{ThreeStep, Fulfilment, HTTP, HotSKU, IntakeOnly}

// Options of a run. Zero values are replaced by the defaults named.
type Options struct {
	Workload string
	// Sagas is how many orders are placed; default 60,000, or 20,000 with the real services, or ten seconds of Rate.
	// IntakeOnly places 40,000.
	Sagas int
	// Duration is for how long orders are placed, in place of Sagas.
	Duration time.Duration
	// InFlight orders are kept open in a closed loop; default 4000, or 2000 with the real services. Of IntakeOnly so many
	// requests wait for their answer, each with a connection of its own; default 256.
	InFlight int
	// Rate makes it an open loop of so many orders a second.
	Rate float64
	// Warmup orders go first and are not measured.
	Warmup int
	// Seed says where in the mix the run begins; with 0 order i ends as order i of the floor does.
	Seed uint64
	// Workers is how many inventory workers there are, of ThreeStep how many of each participant.
	Workers int
	// Coordinators is how many coordinators ThreeStep and Intake have.
	Coordinators int
	// Stock is how many units there are of the SKU that all orders of HotSKU want; 0 is enough for all.
	Stock int
	// Waiting orders of ThreeStep wait for a dead worker while others are measured.
	Waiting int
	// Finished orders are put into the databases of ThreeStep before anything is measured.
	Finished int
	// Kafka are the brokers of a Kafka to use; none: one in this process. KafkaPID is the process id of its broker, if
	// its CPU time is to be counted.
	Kafka    []string
	KafkaPID int
	// CPUProfile and Trace are files to write Go's CPU profile and execution trace of the measured time to, HeapProfile one
	// for what is in memory at its end.
	CPUProfile, Trace, HeapProfile string
	// Waits samples what PostgreSQL's processes wait for, and adds up its statements.
	Waits bool
	// Dir is where the run's own directory is made; default that of temporary files.
	Dir string
	// Progress is told what is going on.
	Progress func(format string, args ...any)
}

const maxSagas = 50_000_000

// Validate names what cannot work, by the names of the command's flags, and fills in the defaults.
func (o *Options) Validate() error {
	if !slices.Contains(Workloads, o.Workload) {
		return fmt.Errorf("there is no workload %q; take one of %s", o.Workload, strings.Join(Workloads, ", "))
	}
	switch {
	case o.Sagas < 0 || o.Sagas > maxSagas:
		return fmt.Errorf("--sagas %d: want 1 to %d", o.Sagas, maxSagas)
	case o.Duration != 0 && (o.Duration < 100*time.Millisecond || o.Duration > 24*time.Hour):
		return fmt.Errorf("--duration %s: want 100ms to 24h", o.Duration)
	case o.Sagas > 0 && o.Duration > 0:
		return fmt.Errorf("--sagas and --duration both say when to stop; leave one of them out")
	case o.InFlight < 0 || o.InFlight > 1_000_000:
		return fmt.Errorf("--in-flight %d: want 1 to 1000000", o.InFlight)
	case o.Rate != 0 && (o.Rate < 0.1 || o.Rate > 1_000_000):
		return fmt.Errorf("--rate %g: want 0.1 to 1000000 orders a second", o.Rate)
	case o.Rate > 0 && o.InFlight > 0:
		return fmt.Errorf("--in-flight is a closed loop and --rate an open one; leave one of them out")
	case o.Warmup < 0 || o.Warmup > maxSagas:
		return fmt.Errorf("--warmup %d: want 0 to %d", o.Warmup, maxSagas)
	case o.Workers < 0 || o.Workers > 12:
		return fmt.Errorf("--workers %d: want 1 to 12, one for each partition", o.Workers)
	case o.Stock < 0 || o.Stock > maxSagas:
		return fmt.Errorf("--stock %d: want 0 (enough) to %d", o.Stock, maxSagas)
	case o.Stock > 0 && o.Workload != HotSKU:
		return fmt.Errorf("--stock is about the SKU of %s", HotSKU)
	case o.Waiting < 0 || o.Waiting > 1_000_000:
		return fmt.Errorf("--waiting %d: want 0 to 1000000", o.Waiting)
	case o.Waiting > 0 && o.Workload != ThreeStep:
		return fmt.Errorf("--waiting is about %s", ThreeStep)
	case o.Waiting > 0 && o.Rate > 0:
		return fmt.Errorf("--waiting is measured in a closed loop; leave --rate out")
	case o.Finished < 0 || o.Finished > maxSagas:
		return fmt.Errorf("--finished %d: want 0 to %d", o.Finished, maxSagas)
	case o.Finished > 0 && o.Workload != ThreeStep:
		return fmt.Errorf("--finished is about the databases of %s", ThreeStep)
	case o.Coordinators < 0 || o.Coordinators > partitions:
		return fmt.Errorf("--coordinators %d: want 1 to %d, one for each partition", o.Coordinators, partitions)
	case o.Coordinators > 1 && o.Workload != ThreeStep && o.Workload != IntakeOnly:
		return fmt.Errorf("--coordinators is about %s and %s", ThreeStep, IntakeOnly)
	case o.Workload == IntakeOnly && o.Sagas > intakeRoom:
		return fmt.Errorf("--sagas %d: want 1 to %d, which all wait at the same time", o.Sagas, intakeRoom)
	case o.Workload == IntakeOnly && o.InFlight > maxRequests:
		return fmt.Errorf("--in-flight %d: want 1 to %d connections", o.InFlight, maxRequests)
	case o.KafkaPID != 0 && len(o.Kafka) == 0:
		return fmt.Errorf("--kafka-pid names the broker of --kafka, which is not given")
	case o.KafkaPID < 0 || o.KafkaPID > 0 && processCPU(o.KafkaPID) == 0:
		return fmt.Errorf("--kafka-pid %d: there is no such process", o.KafkaPID)
	}
	o.setDefaults()
	return nil
}

func (o *Options) setDefaults() {
	sagas, inFlight := 20_000, 2000
	switch o.Workload {
	case ThreeStep:
		sagas, inFlight = 60_000, 4000
	case IntakeOnly:
		sagas, inFlight = 40_000, connections
	}
	if o.Rate > 0 {
		sagas, inFlight = int(max(1, o.Rate*10)), 0
	}
	if o.Sagas == 0 && o.Duration == 0 {
		o.Sagas = sagas
	}
	if o.InFlight == 0 {
		o.InFlight = inFlight
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Coordinators == 0 {
		o.Coordinators = 1
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
}
