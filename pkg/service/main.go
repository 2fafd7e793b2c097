package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Program is what a process does. C is its configuration, which embeds Settings.
type Program[C any] struct {
	// HTTPAddr is the process's own default for HTTP_ADDR.
	HTTPAddr string
	// Serve runs the service until ctx ends and returns nil then.
	Serve func(ctx context.Context, config C, log *slog.Logger) error
	// Migrate brings database and topics to the shape that this build needs; nil if the process has none.
	Migrate func(ctx context.Context, config C, log *slog.Logger) error
}

const usage = `usage: %[1]s COMMAND

  serve        run the service until SIGTERM or an interrupt
  migrate      bring its database and topics to the shape that this build needs
  healthcheck  ask the running service at HTTP_ADDR whether it is ready; status 0 if so
  version      say which build this is

Configuration comes from the environment.
`

// Main runs the program as the process and does not return.
func Main[C any](name string, program Program[C]) {
	TuneGC()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a drain; from then on the signals have their usual, deadly effect.
	context.AfterFunc(ctx, stop)
	os.Exit(Execute(ctx, name, program, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// Execute is Main without the process: it returns the exit status. 2 means that the command or the configuration is
// wrong, 1 that the work failed.
func Execute[C any](
	ctx context.Context, name string, program Program[C], args, environ []string, stdout, stderr io.Writer,
) int {
	// Before the caller's own, so that theirs win.
	if program.HTTPAddr != "" {
		environ = slices.Concat([]string{"HTTP_ADDR=" + program.HTTPAddr}, dropEmpty(environ, "HTTP_ADDR"))
	}
	command := ""
	if len(args) == 1 {
		command = args[0]
	}
	switch command {
	case "serve":
		return runConfigured(ctx, name, program.Serve, environ, stderr)
	case "migrate":
		if program.Migrate == nil {
			fmt.Fprintf(stderr, "%s: nothing to migrate\n", name)
			return 0
		}
		return runConfigured(ctx, name, program.Migrate, environ, stderr)
	case "healthcheck":
		settings, err := LoadEnv[Settings](environ)
		if err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			return 2
		}
		if err := healthcheck(ctx, settings.HTTPAddr); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			return 1
		}
		return 0
	case "version":
		if err := json.NewEncoder(stdout).Encode(Version()); err != nil {
			return 1
		}
		return 0
	case "help", "-h", "--help":
		fmt.Fprintf(stdout, usage, name)
		return 0
	default:
		fmt.Fprintf(stderr, usage, name)
		return 2
	}
}

func runConfigured[C any](
	ctx context.Context, name string, work func(context.Context, C, *slog.Logger) error, environ []string, stderr io.Writer,
) int {
	settings, err := LoadEnv[Settings](environ)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 2
	}
	log, err := Logger(stderr, settings.LogFormat, settings.LogLevel)
	if err != nil {
		fmt.Fprintf(stderr, "%s: configuration: %v\n", name, err)
		return 2
	}
	log = log.With("service", name)
	config, err := LoadEnv[C](environ)
	if err != nil {
		log.ErrorContext(ctx, "refusing to start", "error", err)
		return 2
	}
	log.InfoContext(ctx, "configured", "version", Version().String(), "config", config)
	if err := work(ctx, config, log); err != nil {
		log.ErrorContext(ctx, "ended with an error", "error", err)
		return 1
	}
	return 0
}

// healthcheck asks the service on this machine, as a container's own health check does.
func healthcheck(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		return fmt.Errorf("HTTP_ADDR=%q: want host:port with the port that the service listens on", addr)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(host, port) + "/readyz?verbose"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	err = errors.Join(err, response.Body.Close())
	if response.StatusCode == http.StatusOK {
		return err
	}
	return errors.Join(fmt.Errorf("not ready: %s\n%s", response.Status, body), err)
}

// dropEmpty removes NAME= without a value, which would hide a default that stands before it.
func dropEmpty(environ []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		return strings.TrimSpace(pair) == name+"="
	})
}
