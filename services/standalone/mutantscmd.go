package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/pkg/pgserver"
	"recourse.dev/services/standalone/mutants"
)

// databaseURL is how tests are given a server; see pkg/pgtest.
const databaseURL = "RECOURSE_TEST_DATABASE_URL"

func mutantsCommand() *cobra.Command {
	var o mutants.Options
	var list bool
	cmd := &cobra.Command{
		Use:   "mutants",
		Short: "Break the program on purpose and see that something notices",
		Long: "Put each of the defects listed in " + mutants.ListFile + "\n" +
			"into the program, without touching the tree, and run what should notice it: tests, simulator, explorer.\n" +
			"Needs the source tree and the go command. Ends with one line of JSON; exit status 1 if a mutant survived.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Root == "" {
				if o.Root, err = sourceRoot(); err != nil {
					return err
				}
			}
			if o.Root, err = filepath.Abs(o.Root); err != nil {
				return fmt.Errorf("reading --root: %w", err)
			}
			all, err := mutants.Load(o.Root)
			if err != nil {
				return err
			}
			selected, err := mutants.Select(all, o)
			if err != nil {
				return err
			}
			if list {
				return listMutants(cmd.OutOrStdout(), selected)
			}
			return runMutants(cmd.Context(), selected, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.Only, "only", "", "run the one mutant with this `name`")
	cmd.Flags().BoolVar(&list, "list", false, "list the mutants and end")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "run those that die without a database")
	cmd.Flags().IntVar(&o.Parallel, "parallel", 2, "mutants to run side by side")
	cmd.Flags().StringVar(&o.Root, "root", "", "root of the source tree (default: the one around the working directory)")
	return cmd
}

// sourceRoot is the directory of the workspace around the working directory.
func sourceRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the source tree: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("there is no go.work around the working directory; go to the source tree or give --root")
		}
		dir = up
	}
}

func listMutants(out io.Writer, list []mutants.Mutant) error {
	layer := ""
	for _, m := range list {
		if m.Layer != layer {
			layer = m.Layer
			fmt.Fprintf(out, "\n%s\n", layer)
		}
		fmt.Fprintf(out, "  %s\n      %s\n", m.Name, m.Why)
	}
	return nil
}

func runMutants(ctx context.Context, list []mutants.Mutant, o mutants.Options, out, progress io.Writer) error {
	if !o.Quick && os.Getenv(databaseURL) == "" {
		url, stop, err := startDatabase(ctx)
		if err != nil {
			return err
		}
		defer stop()
		o.Env = append(o.Env, databaseURL+"="+url)
	}
	fmt.Fprintf(progress, "%d mutants; first the killers run against the unchanged program\n", len(list))
	var results []mutants.Result
	o.Done = func(r mutants.Result) {
		results = append(results, r)
		verdict := "killed"
		if !r.Dead() {
			verdict = "SURVIVED"
		}
		fmt.Fprintf(progress, "%3d/%d %-8s %s (%s)\n", len(results), len(list), verdict, r.Mutant.Name, r.Took.Round(time.Second))
	}
	report, err := mutants.Run(ctx, list, o)
	if err != nil {
		return err
	}
	printTable(out, list, results)
	line, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	fmt.Fprintln(out, string(line))
	if len(report.Survivors) > 0 {
		return errNotGreen
	}
	return nil
}

// startDatabase starts the one server that the tests of all mutants share.
func startDatabase(ctx context.Context) (url string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "mutants-pg-")
	if err != nil {
		return "", nil, fmt.Errorf("making a directory for the database: %w", err)
	}
	server, err := pgserver.Start(ctx, pgserver.Options{DataDir: dir})
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("starting a database: %w", err), os.RemoveAll(dir))
	}
	return server.URL("postgres"), func() {
		// A directory that stays behind is no reason to fail.
		_ = server.Stop(context.WithoutCancel(ctx))
		_ = os.RemoveAll(dir)
	}, nil
}

// printTable prints the mutants in the order of the list, with a column for what killed each.
func printTable(out io.Writer, list []mutants.Mutant, results []mutants.Result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MUTANT\tTEST\tSIMULATOR\tEXPLORER\tSECONDS")
	for _, m := range list {
		i := slices.IndexFunc(results, func(r mutants.Result) bool { return r.Mutant.Name == m.Name })
		if i < 0 {
			continue
		}
		cell := map[mutants.Kind]string{}
		for _, k := range results[i].Kills {
			kind := k.Killer.Kind
			switch {
			case k.Dead && kind == mutants.Sim:
				cell[kind] = fmt.Sprintf("seed %d", k.Seeds)
			case k.Dead:
				cell[kind] = k.By
			default:
				cell[kind] = "not noticed"
			}
		}
		test := cell[mutants.Unit]
		if found, ok := cell[mutants.DB]; ok {
			test = found
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.0f\n", m.Name, oneLine(test), cell[mutants.Sim], cell[mutants.Explore],
			results[i].Took.Seconds())
	}
	_ = w.Flush() // a table that nobody reads is no error
}

func oneLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}
