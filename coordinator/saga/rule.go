package saga

// The guards and actions that the rows of table.go name.

type stepGuard struct {
	name  string
	holds func(*turn) bool
}

type stepAction struct {
	name string
	run  func(*turn)
}

type sagaGuard struct {
	name  string
	holds func(*turn) bool
}

type sagaAction struct {
	name string
	run  func(*turn)
}

// Guards of a step.
var (
	always      = stepGuard{"", func(*turn) bool { return true }}
	canRefuse   = stepGuard{"it may refuse", func(t *turn) bool { return t.spec().Kind != Retriable }}
	isOptional  = stepGuard{"it is optional", func(t *turn) bool { return t.spec().Optional }}
	mustSucceed = stepGuard{"it must succeed", func(t *turn) bool {
		return t.spec().Kind == Retriable && !t.spec().Optional
	}}
	triesNotSpent = stepGuard{"tries are left", func(t *turn) bool { return !t.spent() }}
	triesSpent    = stepGuard{"tries are spent", func(t *turn) bool { return t.spent() }}
	// Forward, what happens when the tries are spent depends on the kind of the step.
	triesLeft          = stepGuard{"tries are left", func(t *turn) bool { return !t.spent() }}
	spentCompensatable = stepGuard{"tries are spent, it has an undo", func(t *turn) bool {
		return t.spent() && t.spec().Kind == Compensatable
	}}
	spentOptional = stepGuard{"tries are spent, it is optional", func(t *turn) bool {
		return t.spent() && t.spec().Optional
	}}
	spentInsists = stepGuard{"tries are spent, it has no undo", func(t *turn) bool {
		return t.spent() && t.spec().Kind != Compensatable && !t.spec().Optional
	}}
	// A paused saga that goes back has dos that are not undone yet; none of them is sent again.
	stillWanted = stepGuard{"it is still wanted", func(t *turn) bool { return t.s.State != Compensating }}
	goingBack   = stepGuard{"the saga goes back", func(t *turn) bool { return t.s.State == Compensating }}

	hasUndo = stepGuard{"it has an undo", func(t *turn) bool { return t.spec().Undo != "" }}
	noUndo  = stepGuard{"it has no undo", func(t *turn) bool { return t.spec().Undo == "" }}
	// What cannot be undone is welcome on the way forward only.
	noUndoForth = stepGuard{"it has no undo, the saga has not gone back", func(t *turn) bool {
		return t.spec().Undo == "" && !t.back()
	}}
	noUndoBack = stepGuard{"it has no undo, the saga goes or went back", func(t *turn) bool {
		return t.spec().Undo == "" && t.back()
	}}
	// The facts about one effect are in the order of the participant, not of their arrival.
	newer    = stepGuard{"newer than the last fact", func(t *turn) bool { return t.ev.Seq > t.step().Seq }}
	notNewer = stepGuard{"not newer than the last fact", func(t *turn) bool { return t.ev.Seq <= t.step().Seq }}
	older    = stepGuard{"older than the last fact", func(t *turn) bool { return t.ev.Seq < t.step().Seq }}
	notOlder = stepGuard{"not older than the last fact", func(t *turn) bool { return t.ev.Seq >= t.step().Seq }}
)

// Actions of a step. They run after the step is in its new state.
var (
	nothing = stepAction{"nothing to undo", func(t *turn) { t.quiet() }}
	ignore  = stepAction{"ignore", func(t *turn) { t.unchanged() }}
	keep    = stepAction{"keep as evidence", func(t *turn) { t.unchanged() }}
	decline = stepAction{"decline", func(t *turn) { t.unchanged(); t.answer(NotPossible) }}
	sendDo  = stepAction{"send do", func(t *turn) { t.sendFirst(OpDo) }}
	// An undo follows a do that may still be on its way; the participant's fence makes that safe.
	sendUndo = stepAction{"send undo", func(t *turn) { t.sendFirst(OpUndo) }}
	resend   = stepAction{"send again", func(t *turn) { t.sendAgain() }}
	retryNow = stepAction{"send again", func(t *turn) { t.sendAgain(); t.answer(Agreed) }}
	insist   = stepAction{"send again, tell an operator", func(t *turn) {
		t.sendAgain()
		t.raise(NoAnswer, "no answer after "+itoa(t.step().Attempt)+" sends")
	}}
	hold = stepAction{"hold the effect", func(t *turn) { t.holdEffect() }}
	// Only the undo's own proof, which must not be older, ends what is known to be there.
	holdUntilUndone = stepAction{"hold the effect until it is undone", func(t *turn) { t.noteEffect() }}
	holdUnasked     = stepAction{"hold an effect that was not asked for", func(t *turn) {
		t.step().EverIssued = true
		t.holdEffect()
		t.raise(ContractViolation, "done without having been asked")
		t.then(EffectReturned)
	}}
	holdAfterAll = stepAction{"hold what was refused before, tell an operator", func(t *turn) {
		t.holdEffect()
		t.raise(ContractViolation, "done after it was refused")
		t.then(EffectReturned)
	}}
	// Only a participant that broke the contract brings this about. What lies beneath is undone all the same, but the saga
	// does not say that everything is gone until a person has seen to it.
	stuck = stepAction{"tell an operator, it cannot be undone", func(t *turn) {
		t.raise(ContractViolation, "done, and it cannot be undone")
	}}
	refuse = stepAction{"take note of the refusal", func(t *turn) {
		t.quiet()
		t.noteRefusal()
		t.then(StepWasRefused)
	}}
	doWithout = stepAction{"do without it", func(t *turn) { t.quiet(); t.noteRefusal() }}
	// The refused key is proven to have no effect and is answered the same for ever, so a new try needs a new key.
	tryNewKey = stepAction{"try again under a new effect key, tell an operator", func(t *turn) {
		t.noteRefusal()
		st := t.step()
		st.Generation++
		st.Attempt, st.Seq = 0, 0
		st.Due = t.now.Add(t.spec().Retry.Max)
		t.raise(ForwardWasRefused, st.Code)
	}}
	waitAsTold = stepAction{"wait", func(t *turn) { t.waitUntil() }}
	giveUp     = stepAction{"give up, go back", func(t *turn) {
		t.step().Due = never
		t.then(StepGivenUp)
	}}
	abandon = stepAction{"give up, do without it", func(t *turn) {
		t.quiet()
		t.step().Code = "given_up"
	}}
	// An effect that an operator vouches for is held like any other: if the order goes back, it is undone.
	settleDone = stepAction{"settle by hand as done", func(t *turn) {
		t.quiet()
		t.clearAttention()
		t.step().Code, t.step().Detail, t.step().Evidence = "settled", t.ev.Detail, t.ev.Evidence
		t.answer(Agreed)
	}}
	settle = stepAction{"settle by hand as undone", func(t *turn) {
		t.quiet()
		t.clearAttention()
		t.step().Code, t.step().Detail, t.step().Evidence = "settled", t.ev.Detail, t.ev.Evidence
		t.answer(Agreed)
	}}
	release = stepAction{"the effect is gone", func(t *turn) {
		t.quiet()
		t.clearAttention()
		t.step().Seq = max(t.step().Seq, t.ev.Seq)
		t.step().Evidence = t.ev.Evidence
	}}
	askForHelp = stepAction{"tell an operator, ask again slowly", func(t *turn) {
		t.step().Code, t.step().Detail = t.ev.Code, t.ev.Detail
		t.step().Due = t.now.Add(t.spec().Retry.Max)
		t.raise(UndoWasRefused, t.ev.Code)
	}}
	undoAgain = stepAction{"undo it again, tell an operator", func(t *turn) {
		t.step().EverIssued = true
		t.noteEffect()
		t.sendFirst(OpUndo)
		t.raise(ContractViolation, "done after it was proven not to be")
		t.then(EffectReturned)
	}}
	violate = stepAction{"tell an operator", func(t *turn) {
		t.raise(ContractViolation, t.ev.Kind.String()+" for a step that is "+t.step().State.String())
	}}
)

// Guards of the saga.
var (
	whenever       = sagaGuard{"", func(*turn) bool { return true }}
	pivotUntouched = sagaGuard{"the pivot is untouched", func(t *turn) bool { return !t.pivotOpen() }}
	pivotInFlight  = sagaGuard{"the pivot is in flight", func(t *turn) bool { return t.pivotOpen() }}
	// A deadline that was moved or cleared since its timer was set is not due.
	deadlineNotYet    = sagaGuard{"it is not due", func(t *turn) bool { return !t.deadlineDue() }}
	deadlineUntouched = sagaGuard{"it is due, the pivot is untouched", func(t *turn) bool {
		return t.deadlineDue() && !t.pivotOpen()
	}}
	deadlineInFlight = sagaGuard{"it is due, the pivot is in flight", func(t *turn) bool {
		return t.deadlineDue() && t.pivotOpen()
	}}
)

// Actions of the saga. They run after the saga is in its new state.
var (
	proceed    = sagaAction{"nothing", func(t *turn) { t.unchanged() }}
	goBackward = sagaAction{"undo what was issued", func(t *turn) { t.turnBack() }}
	confirm    = sagaAction{"only forward from here", func(t *turn) {
		t.s.Deadline = never
		t.announce(FactConfirmed)
	}}
	finish    = sagaAction{"end", func(t *turn) { t.s.EndedAt = t.now }}
	proveGone = sagaAction{"end", func(t *turn) {
		t.s.EndedAt = t.now
		t.announce(FactCancelled)
	}}
	reopen = sagaAction{"open again", func(t *turn) {
		t.s.EndedAt = never
		t.announce(FactCancelling)
	}}
	agree         = sagaAction{"agree", func(t *turn) { t.unchanged(); t.answer(Agreed) }}
	agreeToGoBack = sagaAction{"agree, undo what was issued", func(t *turn) {
		t.turnBack()
		t.answer(Agreed)
	}}
	rememberWish = sagaAction{"remember the wish", func(t *turn) {
		t.wish()
		t.answer(PendingDecision)
	}}
	rememberDeadline = sagaAction{"remember the deadline", func(t *turn) {
		t.s.Deadline = never
		t.wish()
	}}
	tooLate      = sagaAction{"too late", func(t *turn) { t.unchanged(); t.answer(TooLate) }}
	alreadyEnded = sagaAction{"already ended", func(t *turn) { t.unchanged(); t.answer(AlreadyEnded) }}
	pause        = sagaAction{"send nothing until resumed", func(t *turn) {
		t.s.Paused = true
		t.answer(Agreed)
	}}
	resume = sagaAction{"go on", func(t *turn) {
		t.s.Paused = false
		t.answer(Agreed)
	}}
	closeWithResidue = sagaAction{"close with what remains", func(t *turn) {
		for i := range t.s.Steps {
			t.s.Steps[i].Due = never
		}
		t.s.Deadline, t.s.EndedAt, t.s.Paused = never, t.now, false
		t.s.CauseDetail = t.ev.Detail
		t.announce(FactClosed)
		t.answer(Agreed)
		t.at = t.s.Attention.Step
		t.clearAttention() // whatever it was about, somebody has looked
	}}
)
