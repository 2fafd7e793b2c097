package saga

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Kind says which promises a step makes.
type Kind uint8

const (
	// Compensatable: the do may be refused and the step has an undo.
	Compensatable Kind = 1
	// Pivot: the do may be refused, but once it is done there is no way back.
	Pivot Kind = 2
	// Retriable: comes after the point of no return and must succeed in the end.
	Retriable Kind = 3
)

func (k Kind) String() string {
	return [...]string{Compensatable: "compensatable", Pivot: "pivot", Retriable: "retriable"}[k]
}

// Step is one line of a definition.
type Step struct {
	// Name is unique in the definition and part of the effect key.
	Name string
	// Participant is the service that is asked.
	Participant string
	Kind        Kind
	// Optional steps, retriable only, never hold the order up: they are given
	// up after Retry.GiveUp sends, and their refusal ends nothing.
	Optional bool
	// Outside says that the participant calls somebody outside and may answer
	// that it does not know the outcome.
	Outside bool
	// Do and Undo are the full message names of the commands.
	Do, Undo string
	// Effect is the kind of thing that the step brings about, for example "stock".
	Effect string
	// Consumes names an earlier step whose effect this step uses up.
	Consumes string
	// Claim is what may be said once the step is done, Unclaim once it is undone.
	Claim, Unclaim string
	Retry          Retry
}

// Retry says when a command that was not answered is sent again.
type Retry struct {
	// First is the least wait for an answer.
	First time.Duration
	// Max caps the part of the wait that grows.
	Max time.Duration
	// GiveUp is the number of sends after which a compensatable step is undone
	// and an optional step skipped. An operator is told about the others then.
	GiveUp uint32
}

// DefaultRetry waits 5 s to 10 s, doubling up to 65 s, and gives up after 6 sends.
var DefaultRetry = Retry{First: 5 * time.Second, Max: time.Minute, GiveUp: 6}

// Stage is a group of steps that run together.
type Stage []Step

// Hash identifies the structure of a definition. Waits and deadlines are not
// part of it: they may be tuned while sagas run.
type Hash uint64

func (h Hash) String() string { return fmt.Sprintf("%016x", uint64(h)) }

// Definition is a validated list of steps. It is immutable.
type Definition struct {
	name     string
	version  int
	deadline time.Duration
	steps    []Step
	stage    []int // stage[i] is the stage of steps[i]
	stages   [][]int
	pivot    int // index, or -1
	consumer []int
	hash     Hash
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*([._][a-z0-9]+)*$`)

// Define validates a definition and names every mistake in it.
func Define(name string, version int, deadline time.Duration, stages ...Stage) (*Definition, error) {
	d := &Definition{name: name, version: version, deadline: deadline, pivot: -1}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("definition %q: "+format, append([]any{name}, args...)...))
	}
	if !namePattern.MatchString(name) {
		bad("the name must look like order.fulfilment")
	}
	if version < 1 {
		bad("the version must be 1 or higher, not %d", version)
	}
	if deadline <= 0 {
		bad("the deadline must be positive")
	}
	seen := map[string]int{}
	reached := Compensatable
	for g, stage := range stages {
		if len(stage) == 0 {
			bad("stage %d is empty", g+1)
		}
		var group []int
		for _, st := range stage {
			i := len(d.steps)
			d.check(st, bad)
			if _, twice := seen[st.Name]; twice {
				bad("step %q stands there twice", st.Name)
			}
			seen[st.Name] = i
			if st.Kind < reached {
				bad("step %q is %s but stands after a %s step; the order is compensatable, pivot, retriable",
					st.Name, st.Kind, reached)
			}
			if st.Kind != stage[0].Kind {
				bad("step %q is %s in a stage of %s steps; a stage has one kind", st.Name, st.Kind, stage[0].Kind)
			}
			if st.Kind == Pivot {
				if d.pivot >= 0 {
					bad("step %q is a second pivot after %q", st.Name, d.steps[d.pivot].Name)
				}
				d.pivot = i
			}
			reached = max(reached, st.Kind)
			d.steps = append(d.steps, st)
			d.stage = append(d.stage, g)
			group = append(group, i)
		}
		d.stages = append(d.stages, group)
	}
	if len(d.steps) == 0 {
		bad("it has no step")
	}
	d.consumer = make([]int, len(d.steps))
	for i := range d.consumer {
		d.consumer[i] = -1
	}
	for i, st := range d.steps {
		if st.Consumes == "" {
			continue
		}
		j, ok := seen[st.Consumes]
		if !ok || d.stage[j] >= d.stage[i] {
			bad("step %q consumes %q, which is not a step of an earlier stage", st.Name, st.Consumes)
			continue
		}
		d.consumer[j] = i
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d.hash = d.structure()
	return d, nil
}

// MustDefine is Define for definitions that are part of the program.
func MustDefine(name string, version int, deadline time.Duration, stages ...Stage) *Definition {
	d, err := Define(name, version, deadline, stages...)
	if err != nil {
		panic(err)
	}
	return d
}

func (d *Definition) check(st Step, bad func(string, ...any)) {
	if !namePattern.MatchString(st.Name) {
		bad("step name %q must look like reserve_stock", st.Name)
	}
	if st.Participant == "" {
		bad("step %q has no participant", st.Name)
	}
	if st.Kind < Compensatable || st.Kind > Retriable {
		bad("step %q has no kind", st.Name)
	}
	if st.Do == "" {
		bad("step %q has no do command", st.Name)
	}
	if st.Kind == Compensatable && st.Undo == "" {
		bad("step %q is compensatable and has no undo command", st.Name)
	}
	if st.Kind != Compensatable && st.Undo != "" {
		bad("step %q is %s and has an undo command, which would never be sent", st.Name, st.Kind)
	}
	if st.Optional && st.Kind != Retriable {
		bad("step %q is optional but not retriable", st.Name)
	}
	if st.Retry.First <= 0 || st.Retry.Max <= 0 || st.Retry.GiveUp < 1 {
		bad("step %q needs positive Retry.First, Retry.Max and Retry.GiveUp", st.Name)
	}
}

// structure hashes what a running saga depends on: the steps, their order and
// their commands.
func (d *Definition) structure() Hash {
	h := sha256.New()
	fmt.Fprintf(h, "%s/%d\n", d.name, d.version)
	for i, st := range d.steps {
		fmt.Fprintf(h, "%d %s %s %d %t %s %s %s\n",
			d.stage[i], st.Name, st.Participant, st.Kind, st.Optional, st.Do, st.Undo, st.Consumes)
	}
	return Hash(binary.BigEndian.Uint64(h.Sum(nil)))
}

func (d *Definition) Name() string            { return d.name }
func (d *Definition) Version() int            { return d.version }
func (d *Definition) Hash() Hash              { return d.hash }
func (d *Definition) Deadline() time.Duration { return d.deadline }

// Steps are in the order of the definition; a saga's steps have the same indexes.
func (d *Definition) Steps() []Step { return d.steps }

// Stages holds, for each stage, the indexes of its steps.
func (d *Definition) Stages() [][]int { return d.stages }

// Index finds a step by name.
func (d *Definition) Index(name string) (int, bool) {
	for i := range d.steps {
		if d.steps[i].Name == name {
			return i, true
		}
	}
	return 0, false
}

// committed says whether the point of no return is behind: every compensatable
// step and the pivot are done.
func (d *Definition) committed(s *Saga) bool {
	for i := range d.steps {
		if d.steps[i].Kind != Retriable && s.Steps[i].State != Done {
			return false
		}
	}
	return true
}
