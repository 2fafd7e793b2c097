package carriersim

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"recourse.dev/pkg/money"
	"recourse.dev/pkg/sandbox"
)

// record is one line of the ledger file: everything that one request changed, so that a line is either wholly there
// or the request never happened.
type record struct {
	At       time.Time `json:"at"`
	Shipment Shipment  `json:"shipment"`
	Entry    *Entry    `json:"entry,omitempty"`
}

// parcel is a shipment and the lock of those who change it.
type parcel struct {
	// working is held from reading the shipment to writing what becomes of it. It is taken before book.mu.
	working sync.Mutex

	shipment Shipment // guarded by book.mu
}

// book is the carrier's whole state. It changes only by records, live and at the next start alike.
type book struct {
	hooks   *sandbox.Hooks
	journal *sandbox.Journal[record]

	mu          sync.RWMutex
	parcels     map[string]*parcel
	all         []*parcel            // in the order of creation
	byReference map[string][]*parcel // in the order of creation
	byLabel     map[string]*parcel
	entries     []Entry
}

func openBook(config Config, hooks *sandbox.Hooks) (*book, error) {
	b := &book{
		hooks: hooks, parcels: map[string]*parcel{}, byReference: map[string][]*parcel{}, byLabel: map[string]*parcel{},
	}
	journal, err := sandbox.OpenJournal(config.LedgerPath, config.LedgerFsync, b.replay)
	if err != nil {
		return nil, fmt.Errorf("opening the carrier's ledger: %w", err)
	}
	b.journal = journal
	return b, nil
}

// commit writes what became of a shipment to the ledger and makes it true.
func (b *book) commit(out outcome, now time.Time) error {
	r := record{At: now, Shipment: *out.after}
	if out.kind != "" {
		price := out.after.price()
		r.Entry = &Entry{
			At: now, Kind: out.kind, Shipment: out.after.ID, Reference: out.after.Reference,
			TrackingCode: *out.after.TrackingCode, Amount: price.Minor, Currency: price.Currency,
		}
	}
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
	if r.Entry != nil {
		r.Entry.Seq = int64(len(b.entries) + 1)
	}
	if err := b.journal.Append(r); err != nil {
		return err
	}
	b.apply(r)
	return nil
}

// replay applies a record of an earlier life of the process.
func (b *book) replay(r record) error {
	if r.Shipment.ID == "" {
		return errors.New("there is no shipment in it")
	}
	rate := r.Shipment.SelectedRate
	if (rate == nil) != (r.Shipment.TrackingCode == nil) {
		return fmt.Errorf("shipment %s is bought by half", r.Shipment.ID)
	}
	if rate != nil {
		if _, err := money.ParseAmount(rate.Rate, rate.Currency); err != nil {
			return fmt.Errorf("shipment %s: %w", r.Shipment.ID, err)
		}
	}
	if want := int64(len(b.entries) + 1); r.Entry != nil && r.Entry.Seq != want {
		return fmt.Errorf("entry %d stands where %d should", r.Entry.Seq, want)
	}
	b.apply(r)
	b.notify(r)
	return nil
}

func (b *book) apply(r record) {
	p, ok := b.parcels[r.Shipment.ID]
	if !ok {
		p = &parcel{}
		b.parcels[r.Shipment.ID] = p
		b.all = append(b.all, p)
		b.byReference[r.Shipment.Reference] = append(b.byReference[r.Shipment.Reference], p)
	}
	p.shipment = r.Shipment
	if label := r.Shipment.PostageLabel; label != nil {
		b.byLabel[label.ID] = p
	}
	if r.Entry != nil {
		b.entries = append(b.entries, *r.Entry)
	}
}

func (b *book) find(id string) (*parcel, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p, ok := b.parcels[id]
	return p, ok
}

func (b *book) shipmentOf(p *parcel) Shipment {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return p.shipment
}

func (b *book) labelled(label string) (Shipment, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p, ok := b.byLabel[label]
	if !ok {
		return Shipment{}, false
	}
	return p.shipment, true
}

// shipments lists the newest shipments before the one named, and whether there are more.
func (b *book) shipments(reference, before string, limit int) ([]Shipment, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	parcels := b.all
	if reference != "" {
		parcels = b.byReference[reference]
	}
	if at := slices.IndexFunc(parcels, func(p *parcel) bool { return p.shipment.ID == before }); at >= 0 {
		parcels = parcels[:at]
	}
	found := []Shipment{}
	for _, p := range slices.Backward(parcels[max(len(parcels)-limit, 0):]) {
		found = append(found, p.shipment)
	}
	return found, len(found) < len(parcels)
}

// span narrows a ledger to one reference, or to those after one up to another in the order of their texts. Empty is no limit.
type span struct{ only, after, upto string }

func (s span) holds(reference string) bool {
	return (s.only == "" || reference == s.only) && (s.after == "" || reference > s.after) && (s.upto == "" || reference <= s.upto)
}

func (b *book) ledger(s span) []Entry {
	b.mu.RLock()
	defer b.mu.RUnlock()
	entries := make([]Entry, 0)
	for _, entry := range b.entries {
		if s.holds(entry.Reference) {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (b *book) totals() Totals {
	b.mu.RLock()
	defer b.mu.RUnlock()
	totals := totalsOf(b.entries)
	totals.Shipments = len(b.all)
	return totals
}
