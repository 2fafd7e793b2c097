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

	"github.com/google/pprof/profile"
)

// profiling is a CPU profile and perhaps a trace of this process that are being taken.
type profiling struct {
	cpu    bytes.Buffer
	on     bool
	toFile string
	toHeap string
	trace  io.Closer
}

// startProfile begins. Where somebody else is profiling this process already, the parts are not told apart.
func startProfile(o *Options) (*profiling, error) {
	p := &profiling{toFile: o.CPUProfile, toHeap: o.HeapProfile}
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
	p.on = pprof.StartCPUProfile(&p.cpu) == nil
	return p, nil
}

// stop ends the profile and says which share of the samples each part of this process has.
func (p *profiling) stop() (shares map[string]float64, err error) {
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
	if !p.on {
		return nil, nil
	}
	pprof.StopCPUProfile()
	if p.toFile != "" {
		if err := os.WriteFile(p.toFile, p.cpu.Bytes(), 0o644); err != nil { //nolint:gosec // the user's own file
			return nil, fmt.Errorf("--cpuprofile: %w", err)
		}
	}
	parsed, err := profile.Parse(&p.cpu)
	if err != nil {
		return nil, fmt.Errorf("reading the CPU profile: %w", err)
	}
	return sharesOf(parsed), nil
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

// sharesOf adds the samples up by part, and those of a service by "part/service" as well.
func sharesOf(p *profile.Profile) map[string]float64 {
	value := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == "cpu" })
	sums, total := map[string]float64{}, 0.0
	for _, s := range p.Sample {
		part := partRuntime
		if label := s.Label[partLabel]; len(label) > 0 {
			part = label[0]
		}
		sums[part] += float64(s.Value[value])
		if label := s.Label[memberLabel]; len(label) > 0 {
			sums[part+"/"+label[0]] += float64(s.Value[value])
		}
		total += float64(s.Value[value])
	}
	for part := range sums {
		sums[part] /= total
	}
	return sums
}
