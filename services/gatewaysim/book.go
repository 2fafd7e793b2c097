package gatewaysim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"recourse.dev/pkg/money"
	"recourse.dev/pkg/sandbox"
)

// record is one line of the ledger file: everything that one request changed, so that a line is either wholly there
// or the request never happened.
type record struct {
	At      time.Time `json:"at"`
	Route   string    `json:"route"`
	Entries []Entry   `json:"entries,omitempty"`
	Intent  *Intent   `json:"intent,omitempty"`
	Refund  *Refund   `json:"refund,omitempty"`
	Answer  *saved    `json:"answer,omitempty"`
}

// saved is the answer that an idempotency key gets from now on.
type saved struct {
	Key         string          `json:"key"`
	Fingerprint string          `json:"fingerprint"`
	Intent      string          `json:"intent"`
	Status      int             `json:"status"`
	Body        json.RawMessage `json:"body"`

	at time.Time
}

// account is an intent and what only the simulator knows of it.
type account struct {
	// working is held from reading the intent to writing what becomes of it. It is taken before book.mu.
	working sync.Mutex

	// Guarded by book.mu:
	intent      Intent
	refunds     []Refund
	lost        int       // answers lost so far by the token's trigger
	hiddenUntil time.Time // answers about the intent are lost until then
}

// book is the gateway's whole state. It changes only by records, live and at the next start alike.
type book struct {
	config  Config
	hooks   *sandbox.Hooks
	journal *sandbox.Journal[record]

	mu       sync.RWMutex
	accounts map[string]*account
	all      []*account            // in the order of creation
	byOrder  map[string][]*account // by metadata order_id
	held     map[string]*account   // those that block an amount
	refunds  map[string]Refund
	answers  map[string]*saved
	oldest   []*saved // answers in the order of their age
	busy     map[string]struct{}
	entries  []Entry
	sums     map[money.Currency]*Sums
}

func openBook(config Config, hooks *sandbox.Hooks) (*book, error) {
	b := &book{
		config: config, hooks: hooks, accounts: map[string]*account{}, byOrder: map[string][]*account{}, held: map[string]*account{},
		refunds: map[string]Refund{}, answers: map[string]*saved{}, busy: map[string]struct{}{},
		sums: map[money.Currency]*Sums{},
	}
	journal, err := sandbox.OpenJournal(config.LedgerPath, config.LedgerFsync, b.replay)
	if err != nil {
		return nil, fmt.Errorf("opening the gateway's ledger: %w", err)
	}
	b.journal = journal
	return b, nil
}

// begin claims an idempotency key. It returns the saved answer if the key was used before; otherwise the caller owns
// the key until end.
func (b *book) begin(key, fingerprint string, now time.Time) (*saved, *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.oldest) > 0 && now.Sub(b.oldest[0].at) >= b.config.KeyTTL {
		delete(b.answers, b.oldest[0].Key)
		b.oldest = b.oldest[1:]
	}
	if answer, ok := b.answers[key]; ok {
		if answer.Fingerprint != fingerprint {
			return nil, keyReused()
		}
		return answer, nil
	}
	if _, ok := b.busy[key]; ok {
		return nil, keyInUse()
	}
	b.busy[key] = struct{}{}
	return nil, nil
}

func (b *book) end(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, key)
}

// commit writes a record to the ledger and makes it true. Entries get their numbers here.
func (b *book) commit(r record) error {
	if err := b.append(r); err != nil {
		return err
	}
	if err := b.journal.Flush(); err != nil {
		return err
	}
	b.notify(r)
	return nil
}

func (b *book) append(r record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range r.Entries {
		r.Entries[i].Seq = int64(len(b.entries) + i + 1)
	}
	if err := b.journal.Append(r); err != nil {
		return err
	}
	b.apply(r)
	return nil
}

// replay applies a record of an earlier life of the process, the loss of its answer included.
func (b *book) replay(r record) error {
	for i, entry := range r.Entries {
		if want := int64(len(b.entries) + i + 1); entry.Seq != want {
			return fmt.Errorf("entry %d stands where %d should", entry.Seq, want)
		}
		if !entry.Currency.Valid() {
			return fmt.Errorf("entry %d: %w %q", entry.Seq, money.ErrUnknownCurrency, entry.Currency)
		}
	}
	if r.Intent != nil && r.Intent.Status == RequiresCapture && r.Intent.CaptureBefore == nil {
		return fmt.Errorf("intent %s is authorized without an end", r.Intent.ID)
	}
	if r.Refund != nil && b.accounts[r.Refund.PaymentIntent] == nil {
		return fmt.Errorf("refund %s belongs to no intent", r.Refund.ID)
	}
	b.apply(r)
	b.notify(r)
	if r.Intent != nil {
		b.countLost(b.accounts[r.Intent.ID], r.Route)
	}
	return nil
}

func (b *book) apply(r record) {
	if r.Intent != nil {
		b.applyIntent(*r.Intent, r)
	}
	if r.Refund != nil {
		b.refunds[r.Refund.ID] = *r.Refund
		owner := b.accounts[r.Refund.PaymentIntent]
		owner.refunds = append(owner.refunds, *r.Refund)
	}
	if r.Answer != nil {
		r.Answer.at = r.At
		b.answers[r.Answer.Key] = r.Answer
		b.oldest = append(b.oldest, r.Answer)
	}
	for _, entry := range r.Entries {
		sums, ok := b.sums[entry.Currency]
		if !ok {
			sums = &Sums{Currency: entry.Currency}
			b.sums[entry.Currency] = sums
		}
		sums.add(entry)
	}
	b.entries = append(b.entries, r.Entries...)
}

func (b *book) applyIntent(intent Intent, r record) {
	a, ok := b.accounts[intent.ID]
	if !ok {
		a = &account{}
		b.accounts[intent.ID] = a
		b.all = append(b.all, a)
		order := intent.Metadata["order_id"]
		b.byOrder[order] = append(b.byOrder[order], a)
	}
	a.intent = intent
	if intent.Status == RequiresCapture {
		b.held[intent.ID] = a
	} else {
		delete(b.held, intent.ID)
	}
	if trigger, _ := triggerOf(intent.token()); trigger.Kind == hideIntent && trigger.Route == r.Route {
		a.hiddenUntil = r.At.Add(trigger.Wait(b.config))
	}
}

// loses reports whether an answer about an intent gets lost by its token, and counts it.
func (b *book) loses(id, route string, done bool, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.accounts[id]
	if !ok {
		return false
	}
	return now.Before(a.hiddenUntil) || done && b.countLost(a, route)
}

func (b *book) countLost(a *account, route string) bool {
	trigger, _ := triggerOf(a.intent.token())
	if trigger.Kind != sandbox.DropAfter || trigger.Route != route || a.lost >= trigger.Times {
		return false
	}
	a.lost++
	return true
}

// find returns the account of an intent.
func (b *book) find(id string) (*account, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	a, ok := b.accounts[id]
	return a, ok
}

func (b *book) intentOf(a *account) Intent {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return a.intent
}

// due lists the accounts whose authorization has run out.
func (b *book) due(now time.Time) []*account {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var due []*account
	for _, a := range b.held {
		if a.intent.due(now) {
			due = append(due, a)
		}
	}
	return due
}

// intents lists the newest intents after the one named, and whether there are more.
func (b *book) intents(orderID, operationID, after string, limit int) ([]Intent, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	accounts := b.all
	if orderID != "" {
		accounts = b.byOrder[orderID]
	}
	if at := slices.IndexFunc(accounts, func(a *account) bool { return a.intent.ID == after }); at >= 0 {
		accounts = accounts[:at]
	}
	found := []Intent{}
	for _, a := range slices.Backward(accounts) {
		if operationID != "" && a.intent.Metadata["operation_id"] != operationID {
			continue
		}
		if len(found) == limit {
			return found, true
		}
		found = append(found, a.intent)
	}
	return found, false
}

func (b *book) refund(id string) (Refund, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	refund, ok := b.refunds[id]
	return refund, ok
}

// refundsOf lists the newest refunds of an intent after the one named, and whether there are more.
func (b *book) refundsOf(a *account, after string, limit int) ([]Refund, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	refunds := a.refunds
	if at := slices.IndexFunc(refunds, func(r Refund) bool { return r.ID == after }); at >= 0 {
		refunds = refunds[:at]
	}
	found := slices.Clone(refunds[max(len(refunds)-limit, 0):])
	slices.Reverse(found)
	return append([]Refund{}, found...), len(found) < len(refunds)
}

// span narrows a ledger to one order_id, or to those after one up to another in the order of their texts. Empty is no limit.
type span struct{ only, after, upto string }

func (s span) holds(orderID string) bool {
	return (s.only == "" || orderID == s.only) && (s.after == "" || orderID > s.after) && (s.upto == "" || orderID <= s.upto)
}

func (b *book) ledger(s span) []Entry {
	b.mu.RLock()
	defer b.mu.RUnlock()
	entries := make([]Entry, 0)
	for _, entry := range b.entries {
		if s.holds(entry.OrderID) {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (b *book) totals() Totals {
	b.mu.RLock()
	defer b.mu.RUnlock()
	totals := Totals{Intents: map[Status]int{}, Currencies: []Sums{}}
	for _, a := range b.all {
		totals.Intents[a.intent.Status]++
	}
	for _, sums := range b.sums {
		totals.Currencies = append(totals.Currencies, *sums)
	}
	slices.SortFunc(totals.Currencies, func(x, y Sums) int { return cmp.Compare(x.Currency, y.Currency) })
	return totals
}

// entriesOf words the movements of an outcome for the ledger.
func entriesOf(out outcome, intent Intent, metadata map[string]string, key string, now time.Time) []Entry {
	var entries []Entry
	for _, move := range out.moves {
		entry := Entry{
			At: now, Kind: move.kind, Intent: intent.ID, OrderID: intent.Metadata["order_id"],
			OperationID:    cmp.Or(metadata["operation_id"], intent.Metadata["operation_id"]),
			IdempotencyKey: key, Amount: move.amount, Currency: money.Currency(strings.ToUpper(intent.Currency)),
		}
		if out.refund != nil {
			entry.Refund = out.refund.ID
		}
		entries = append(entries, entry)
	}
	return entries
}
