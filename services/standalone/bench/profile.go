package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/pprof/profile"
)

// profilePiece is how long a piece of the CPU profile is. The collector of a profile keeps every call stack that it meets
// until it is stopped, and meets new ones for as long as it runs: half a megabyte a minute, which after ten minutes would
// be taken for the platform's memory.
const profilePiece = 30 * time.Second

// profiling is a CPU profile, taken in pieces, and perhaps a trace of this process.
type profiling struct {
	toFile, toHeap string
	trace          io.Closer

	piece bytes.Buffer
	// spent is the CPU time by part, and that of a service by "part/service".
	spent map[string]float64
	// whole are the pieces that --cpuprofile gets, as small as they come; nil without it.
	whole   [][]byte
	err     error
	stopped chan struct{}
	done    sync.WaitGroup
}

// startProfile begins, with pieces of that length. Where somebody else is profiling this process already, the parts are
// not told apart.
func startProfile(o *Options, piece time.Duration) (*profiling, error) {
	p := &profiling{
		toFile: o.CPUProfile, toHeap: o.HeapProfile, spent: map[string]float64{}, stopped: make(chan struct{}),
	}
	if o.Trace != "" {
		f, err := os.Create(o.Trace)
		if err != nil {
			return nil, fmt.Errorf("--trace: %w", err)
		}
		if err := trace.Start(f); err != nil {
			return nil, fmt.Errorf("--trace %s: %w", o.Trace, err)
		}
		p.trace = f
	}
	if pprof.StartCPUProfile(&p.piece) == nil {
		p.done.Go(func() { p.run(piece) })
	}
	return p, nil
}

// run ends a piece when it is long enough and begins the next one.
func (p *profiling) run(piece time.Duration) {
	ticker := time.NewTicker(piece)
	defer ticker.Stop()
	for {
		select {
		case <-p.stopped:
			p.take()
			return
		case <-ticker.C:
		}
		if p.take(); p.err != nil {
			return
		}
		if err := pprof.StartCPUProfile(&p.piece); err != nil {
			p.err = fmt.Errorf("going on with the CPU profile: %w", err)
			return
		}
	}
}

// take ends a piece and adds it up.
func (p *profiling) take() {
	pprof.StopCPUProfile()
	defer p.piece.Reset()
	if p.toFile != "" {
		p.whole = append(p.whole, bytes.Clone(p.piece.Bytes()))
	}
	parsed, err := profile.ParseData(p.piece.Bytes())
	if err != nil {
		p.err = fmt.Errorf("reading the CPU profile: %w", err)
		return
	}
	addTo(p.spent, parsed)
}

// stop ends the profile and says which share of the time each part of this process has.
func (p *profiling) stop() (shares map[string]float64, err error) {
	close(p.stopped)
	p.done.Wait()
	if p.trace != nil {
		trace.Stop()
		if err := p.trace.Close(); err != nil {
			return nil, fmt.Errorf("--trace: %w", err)
		}
	}
	if p.toHeap != "" {
		if err := writeHeap(p.toHeap); err != nil {
			return nil, fmt.Errorf("--heapprofile: %w", err)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	if p.whole != nil {
		if err := writeMerged(p.toFile, p.whole); err != nil {
			return nil, fmt.Errorf("--cpuprofile: %w", err)
		}
	}
	return sharesOf(p.spent), nil
}

func writeMerged(path string, pieces [][]byte) (err error) {
	parsed := make([]*profile.Profile, len(pieces))
	for i, piece := range pieces {
		if parsed[i], err = profile.ParseData(piece); err != nil {
			return err
		}
	}
	whole, err := profile.Merge(parsed)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return whole.Write(f)
}

// writeHeap collects first, so that the profile shows what is in use and not what was left behind.
func writeHeap(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	runtime.GC()
	return pprof.WriteHeapProfile(f)
}

// addTo adds the samples up by part, and those of a service by "part/service" as well.
func addTo(spent map[string]float64, p *profile.Profile) {
	value := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == "cpu" })
	for _, s := range p.Sample {
		part := partRuntime
		if label := s.Label[partLabel]; len(label) > 0 {
			part = label[0]
		}
		spent[part] += float64(s.Value[value])
		if label := s.Label[memberLabel]; len(label) > 0 {
			spent[part+"/"+label[0]] += float64(s.Value[value])
		}
	}
}

// sharesOf divides by what all parts have spent together.
func sharesOf(spent map[string]float64) map[string]float64 {
	total := 0.0
	for part, cpu := range spent {
		if !strings.Contains(part, "/") {
			total += cpu
		}
	}
	shares := make(map[string]float64, len(spent))
	for part, cpu := range spent {
		shares[part] = cpu / total
	}
	return shares
}
