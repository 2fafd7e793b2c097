package service

import (
	"cmp"
	"runtime/debug"
)

// version is set by the release build: -ldflags "-X recourse.dev/pkg/service.version=1.4.0".
var version string

// Build says which code this is.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	// Modified says that the tree had changes that no commit holds.
	Modified bool   `json:"modified"`
	Time     string `json:"time"`
	Go       string `json:"go"`
}

// String is the short form, for example "1.4.0" or "devel-1a2b3c4d".
func (b Build) String() string {
	if b.Version != "devel" || b.Revision == "" {
		return b.Version
	}
	return b.Version + "-" + b.Revision[:min(8, len(b.Revision))]
}

// Version reads what the linker and the go command wrote into the binary.
func Version() Build {
	b := Build{Version: version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.Version = cmp.Or(b.Version, "devel")
		return b
	}
	b.Go = info.GoVersion
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	b.Version = cmp.Or(b.Version, "devel")
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
