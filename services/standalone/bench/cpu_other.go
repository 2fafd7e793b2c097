//go:build !linux

package bench

import "time"

// What the CPU time of processes was is read from Linux's /proc; elsewhere the figures are 0.

func selfCPU() time.Duration { return 0 }

func peakRSS() int64 { return 0 }

func rss() int64 { return 0 }

func processCPU(int) time.Duration { return 0 }
