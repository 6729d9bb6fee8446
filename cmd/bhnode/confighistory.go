package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/configs"
)

// appliedJSON is an entry of `config history -o json`.
type appliedJSON struct {
	Number int    `json:"number"`
	Time   string `json:"time"`
	By     string `json:"by"`
	File   string `json:"file"`
	// Current: it is the last that was applied.
	Current bool `json:"current"`
}

// keyJSON is an entry of `config diff -o json`; null: the key is not there.
type keyJSON struct {
	Path string  `json:"path"`
	From *string `json:"from"`
	To   *string `json:"to"`
}

func newConfigHistoryCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "Lists the configurations that were applied last",
		Long: `Lists the last ten configurations that were in force, by a start or a reload, the
newest first. One that was rolled back is not among them.`,
		Example: `  bhnode config history
  bhnode config history -o json | jq '.[0].number'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.configHistory() },
	}
}

func newConfigDiffCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff [FROM [TO]]",
		Short: "Shows the keys that differ between two configurations",
		Long: `Shows the keys that differ between two configurations, by their numbers in the
history; without TO the file as it is now, without FROM what was applied last.
Secrets are masked.`,
		Example: `  bhnode config diff        # what was edited since the last reload
  bhnode config diff 3 4`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.configDiff(args) },
	}
}

func newConfigRollbackCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback [NUMBER]",
		Short: "Puts an earlier configuration back in place, and reloads",
		Long: `Writes a configuration of the history back into its file, by default the one before
the last, and has the node reload it, if one runs. What the file said is kept beside
it, with a tilde behind its name. Files of env_file are left as they are.`,
		Example: `  bhnode config rollback      # to the one before the last
  bhnode config rollback 3`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.configRollback(cmd.Context(), args) },
	}
}

// history finds the history of the node of this command line, also where the file is wrong.
func (a *app) history() (configs.Source, configs.History, error) {
	src, err := configs.Find(a.configFlag, a.env)
	if err != nil {
		return src, configs.History{}, configError(err)
	}
	dir, err := configs.DataDir(src, a.getenv)
	if err != nil && !src.Embedded { // it may be where it is by default
		usual := configs.OpenHistory(filepath.Join(filepath.Dir(src.Path), "data"))
		if _, ok := usual.Last(); ok {
			return src, usual, nil
		}
	}
	if err != nil {
		return src, configs.History{}, configError(err)
	}
	return src, configs.OpenHistory(dir), nil
}

var errNoHistory = failure("one is kept whenever a node has come up, or was reloaded", "no configuration was applied yet")

func (a *app) configHistory() error {
	_, history, err := a.history()
	if err != nil {
		return err
	}
	all := history.List()
	if a.json() {
		out := []appliedJSON{}
		for i, e := range all {
			out = append(out, appliedJSON{e.Number, e.Time.UTC().Format(time.RFC3339Nano), e.By, e.Source().String(), i == 0})
		}
		return printJSON(a.out, out)
	}
	if len(all) == 0 {
		return errNoHistory
	}
	rows := [][]cell{{plain("NUMBER"), plain("APPLIED"), plain("BY"), plain("FILE")}}
	for i, e := range all {
		number := strconv.Itoa(e.Number)
		if i == 0 {
			number += " (last)"
		}
		rows = append(rows, []cell{plain(number), plain(clock(a.now(), e.Time, "15:04:05")), plain(e.By), plain(e.Source().String())})
	}
	for _, line := range a.out.columns(rows) {
		a.out.printf("%s\n", line)
	}
	return nil
}

// numbered returns what was applied under a number, as it is written on a command line.
func numbered(history configs.History, word string) (configs.Applied, error) {
	number, err := strconv.Atoi(word)
	if err != nil {
		return configs.Applied{}, usageError(`"bhnode config history" lists the numbers`, "%q is no number of a configuration", word)
	}
	e, err := history.Get(number)
	if err != nil {
		return e, usageError(`"bhnode config history" lists those that are`, "%s", err.Error())
	}
	return e, nil
}

func (a *app) configDiff(args []string) error {
	src, history, err := a.history()
	if err != nil {
		return err
	}
	last, ok := history.Last()
	if !ok {
		return errNoHistory
	}
	if len(args) > 0 {
		if last, err = numbered(history, args[0]); err != nil {
			return err
		}
	}
	from, err := last.Load(a.getenv)
	if err != nil {
		return configError(err)
	}
	var to *configs.Config
	if len(args) < 2 {
		to, err = configs.Load(src, a.getenv)
	} else if other, otherErr := numbered(history, args[1]); otherErr != nil {
		return otherErr
	} else {
		to, err = other.Load(a.getenv)
	}
	if err != nil {
		return configError(err)
	}
	return a.printKeys(from, to)
}

// printKeys prints the keys that differ; for people, a service that comes or goes is one.
func (a *app) printKeys(from, to *configs.Config) error {
	changes := from.Changes(to)
	if a.json() {
		out := []keyJSON{}
		for _, c := range changes {
			out = append(out, keyJSON{c.Path, valueOrNull(c.From), valueOrNull(c.To)})
		}
		return printJSON(a.out, out)
	}
	before, after := hasService(from), hasService(to)
	told := map[string]bool{}
	for _, c := range changes {
		if name := c.Service; before[name] != after[name] {
			if told[name] {
				continue
			}
			told[name] = true
			c = configs.KeyChange{Path: "services." + name, To: "is new"}
			if before[name] {
				c.From, c.To = "is gone", ""
			}
		}
		a.out.printf("%s\n", safeText(c.Path))
		if c.From != "" {
			a.out.printf("  %s\n", a.out.paint(styleBad, "- "+safeText(c.From)))
		}
		if c.To != "" {
			a.out.printf("  %s\n", a.out.paint(styleGood, "+ "+safeText(c.To)))
		}
	}
	return nil
}

func hasService(c *configs.Config) map[string]bool {
	has := map[string]bool{}
	for i := range c.Services {
		has[c.Services[i].Name] = true
	}
	return has
}

func valueOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a *app) configRollback(ctx context.Context, args []string) error {
	src, history, err := a.history()
	if err != nil {
		return err
	}
	var to configs.Applied
	switch all := history.List(); {
	case len(args) == 1:
		if to, err = numbered(history, args[0]); err != nil {
			return err
		}
	case len(all) < 2:
		return failure("", "there is no configuration before the last")
	default:
		to = all[1]
	}
	if src.Embedded || to.Path == "" {
		return failure("", "the embedded default has no file to roll back")
	}
	if err := replaceFile(src.Path, []byte(to.Text)); err != nil {
		return failure("", "cannot write the configuration back: %v", err)
	}
	a.err.printf("%s is again what it was as number %d; what it said is in %s~\n", src, to.Number, src)
	if _, err := a.who(ctx); err != nil {
		if code := exitCode(rpcError(err)); code != exitNoNode {
			return rpcError(err)
		}
		a.err.printf("no node runs; it is in force with the next start\n")
		return nil
	}
	return a.reload(ctx, false, false)
}

// replaceFile gives a file another text, whole or not at all, and keeps what it was under
// its name with a tilde.
func replaceFile(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), ".bhnode-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(next.Name()) }() // renamed, if all went well
	_, err = next.Write(text)
	err = errors.Join(err, next.Chmod(info.Mode().Perm()), sameOwner(next, info), next.Sync(), next.Close())
	if err != nil {
		return err
	}
	if err := os.Remove(path + "~"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, path+"~"); err != nil {
		return fmt.Errorf("cannot keep what it was: %w", err)
	}
	return os.Rename(next.Name(), path)
}

// sameOwner gives a file the owner of another one, as far as we may.
func sameOwner(f *os.File, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
