package pgserver_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"recourse.dev/pkg/pgserver"
)

// childDir, when set, makes this test binary a program that starts a server there and then waits to be killed.
const childDir = "RECOURSE_PGSERVER_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if _, err := pgserver.Start(context.Background(), pgserver.Options{DataDir: dir}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, "started")
		select {}
	}
	goleak.VerifyTestMain(m)
}
