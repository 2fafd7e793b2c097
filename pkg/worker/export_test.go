package worker

// Answers counts the rows of the verdict table for a pair of state and operation.
func Answers(state State, op Operation) (rows int) {
	for _, rule := range verdicts {
		if rule.row == state && rule.arrives == op {
			rows++
		}
	}
	return rows
}

// VerdictRows is the length of the verdict table.
func VerdictRows() int { return len(verdicts) }

// Steps counts the rows of the outcome table for a pair of phase and outcome.
func Steps(phase Phase, kind OutcomeKind) (rows int) {
	for _, s := range steps {
		if s.phase == phase && s.kind == kind {
			rows++
		}
	}
	return rows
}

// Reached lists the states that the outcome table leads to.
func Reached() map[State]bool {
	reached := make(map[State]bool)
	for _, s := range steps {
		reached[s.to] = true
	}
	return reached
}

// Statements is every SQL text of the package, by name.
var Statements = map[string]string{
	"load": loadSQL, "insert": insertSQL, "update": updateSQL, "claim": claimSQL, "count_open": countOpenSQL,
	"wake": wakeSQL, "read_mark": readMarkSQL, "raise_mark": raiseMarkSQL, "prune": pruneSQL,
}
