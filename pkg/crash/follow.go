//go:build crashpoints

package crash

import (
	"os"
	"strings"
	"time"
)

// followEvery is how often the file of settings is read.
const followEvery = 20 * time.Millisecond

func init() {
	path := os.Getenv(FileVar)
	struck := ""
	if path != "" {
		struck = path + Struck
	}
	for setting := range strings.SplitSeq(os.Getenv(EnvVar), ",") {
		if setting != "" {
			mustArm(EnvVar, setting, struck)
		}
	}
	if path == "" {
		return
	}
	// What the file holds at the start was meant for the process before.
	seen := len(settings(path))
	go func() {
		for range time.Tick(followEvery) {
			for list := settings(path); seen < len(list); seen++ {
				mustArm(FileVar, list[seen], struck)
			}
		}
	}()
}

// settings are the whole lines of the file.
func settings(path string) []string {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil // there is none yet
	}
	lines := strings.Split(string(content), "\n")
	return lines[:len(lines)-1]
}

// report writes a strike down before it happens.
func report(path, setting string) {
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	if _, err = f.WriteString(setting + "\n"); err == nil {
		err = f.Close()
	}
	if err != nil {
		panic(err)
	}
}
