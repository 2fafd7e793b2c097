//go:build crashpoints

package coordinator

import (
	"fmt"
	"os"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
)

// trialVar lets a test roll out a definition that the shipped ones do not have, and roll it back: "known" is a build
// that can run it, "next" one whose new orders take it. Without it this is a build that does not know it.
const trialVar = "RECOURSE_TRIAL_DEFINITION"

// withTrial adds order.fulfilment 2, in which payment and shipment are asked for side by side.
func withTrial(t order.Timing, list []*saga.Definition) ([]*saga.Definition, error) {
	setting := os.Getenv(trialVar)
	if setting == "" {
		return list, nil
	}
	shipped, err := order.Fulfilment(t)
	if err != nil {
		return nil, err
	}
	var stages []saga.Stage
	for _, step := range shipped.Steps() {
		if step.Name == "create_shipment" {
			last := len(stages) - 1
			stages[last] = append(stages[last], step)
			continue
		}
		stages = append(stages, saga.Stage{step})
	}
	trial, err := saga.Define(shipped.Name(), shipped.Version()+1, shipped.Deadline(), stages...)
	if err != nil {
		return nil, err
	}
	switch setting {
	case "known":
		return append(list, trial), nil
	case "next":
		return append([]*saga.Definition{trial}, list...), nil
	}
	return nil, fmt.Errorf("%s=%q: want known or next", trialVar, setting)
}
