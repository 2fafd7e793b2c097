package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// checkBrokers refuses what is no address, or where nobody answers, before anything is started.
func checkBrokers(ctx context.Context, brokers []string) error {
	if len(brokers) == 0 {
		return nil
	}
	var last error
	for _, address := range brokers {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return fmt.Errorf("--kafka %q: want host:port of one or more brokers, with commas between", address)
		}
		dialer := net.Dialer{Timeout: 5 * time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close() // one is enough to find the others
		}
		last = err
	}
	return fmt.Errorf("no Kafka answers at --kafka %s: %w", strings.Join(brokers, ","), last)
}
