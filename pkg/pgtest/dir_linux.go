package pgtest

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

const (
	shm = "/dev/shm"

	// What a few test binaries at once may fill, and twice that as memory, since it is the same memory.
	memoryNeeded = 2 << 30

	tmpfsMagic = 0x01021994
)

// memoryDir is /dev/shm when it is a memory file system with room (containers mostly give it 64 MB) and the machine, or
// our part of it, has memory to back it. Else "".
func memoryDir() string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(shm, &st); err != nil || st.Type != tmpfsMagic {
		return ""
	}
	if st.Bavail*uint64(st.Bsize) < memoryNeeded {
		return ""
	}
	if limit, ok := cgroupLimit(); ok && limit < 2*memoryNeeded {
		return ""
	}
	if availableMemory() < 2*memoryNeeded {
		return ""
	}
	return shm
}

func availableMemory() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) >= 2 && string(fields[0]) == "MemAvailable:" {
			kib, err := strconv.ParseUint(string(fields[1]), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// cgroupLimit is what a container may use at most, when that is limited (the file says "max" otherwise).
func cgroupLimit() (uint64, bool) {
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return 0, false
	}
	limit, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	return limit, err == nil
}
