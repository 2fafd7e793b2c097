//go:build !linux

package pgtest

// memoryDir: only Linux has one that is always there.
func memoryDir() string { return "" }
