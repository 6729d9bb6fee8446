package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proto/client"
)

// The exit codes of every command.
const (
	exitOK        = 0 // done
	exitFailed    = 1 // it failed, or something is unhealthy
	exitUsage     = 2 // usage or configuration
	exitNoNode    = 3 // no node answers
	exitNoService = 4 // no such service
	exitDenied    = 5 // denied
)

// exitError is an error with its exit code and what to do next.
type exitError struct {
	code   int
	what   string
	hint   string
	detail string // printed before, as it is
}

func (e *exitError) Error() string { return e.what }

// errNoAnswer: there is a node, but it is silent.
var errNoAnswer = &exitError{
	code: exitNoNode,
	what: fmt.Sprintf("the node did not answer within %v", queryTimeout),
	hint: "it runs, but is stopped (SIGSTOP) or overloaded",
}

// failure is an error that ends a command with exit code 1.
func failure(hint, format string, args ...any) error {
	return &exitError{code: exitFailed, what: fmt.Sprintf(format, args...), hint: hint}
}

// usageError is a mistake on the command line.
func usageError(hint, format string, args ...any) error {
	return &exitError{code: exitUsage, what: fmt.Sprintf(format, args...), hint: hint}
}

func usageOf(cmd *cobra.Command, err error) error {
	return usageError(fmt.Sprintf("see %q", cmd.CommandPath()+" --help"), "%s", strings.TrimSpace(err.Error()))
}

// configError is a configuration that cannot be used, with all its mistakes.
func configError(err error) error {
	mistakes, ok := errors.AsType[configs.Errors](err)
	if !ok || len(mistakes) == 0 {
		return &exitError{code: exitUsage, what: strings.TrimRight(err.Error(), "\n")}
	}
	return &exitError{
		code:   exitUsage,
		what:   fmt.Sprintf("%s: %s", mistakes[0].File, plural(len(mistakes), "mistake")),
		detail: strings.TrimRight(err.Error(), "\n"),
	}
}

// report prints an error and returns the exit code of the command.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	exit, ok := errors.AsType[*exitError](err)
	switch {
	case ok:
	case errors.Is(err, context.Canceled):
		exit = &exitError{code: exitFailed, what: "interrupted"}
	case a.running:
		exit = &exitError{code: exitFailed, what: err.Error()}
	default:
		exit = &exitError{code: exitUsage, what: strings.TrimSpace(err.Error()), hint: `see "bhnode --help"`}
	}
	if exit.detail != "" {
		a.err.printf("%s\n", safeLines(exit.detail))
	}
	a.err.printf("%s %s\n", a.err.paint(styleBad, "error:"), safeLines(exit.what))
	if exit.hint == startHint {
		exit.hint += a.leftBehind()
	}
	if exit.hint != "" {
		a.err.printf("%s %s\n", a.err.paint(styleDim, "hint:"), safeLines(exit.hint))
	}
	return exit.code
}

// startHint is what helps where no node runs.
const startHint = `start one with "bhnode run"`

// leftBehind says where the records of a node are that does not run, for whoever wants to know
// why; "" if there are none here.
func (a *app) leftBehind() string {
	if a.remote.address != "" || a.env("BHNODE_ADDRESS") != "" || a.socketFlag != "" || a.env("BHNODE_SOCKET") != "" {
		return ""
	}
	_, cfg, err := a.load(nil)
	if err != nil {
		return ""
	}
	events := eventsPath(cfg)
	if _, err := os.Stat(events); err != nil {
		return ""
	}
	return fmt.Sprintf("; what the last one has left: logs in %s, events in %s", cfg.Logs.Dir, events)
}

// rpcError says in the words of the command line what a call ended with.
func rpcError(err error) error {
	if _, ok := errors.AsType[*exitError](err); ok || err == nil {
		return err
	}
	switch {
	case client.IsNoNode(err):
		what := rpcMessage(err)
		if !strings.HasPrefix(what, "no node answers") {
			what = "no node answers: " + what
		}
		return &exitError{code: exitNoNode, what: what, hint: startHint}
	case client.IsDenied(err):
		return &exitError{code: exitDenied, what: rpcMessage(err), hint: `root, the node's own user and who "access" names may`}
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	exit := &exitError{code: exitFailed, what: rpcMessage(err)}
	switch st.Code() { //nolint:exhaustive // every other code is a failure like any
	case codes.NotFound:
		exit.code = exitNoService
	case codes.InvalidArgument:
		exit.code = exitUsage
	case codes.Unimplemented:
		exit.hint = "the node may be older than this program; restart it"
	case codes.Canceled:
		exit.what = "interrupted"
	}
	return exit
}

// rpcMessage is the message of a call's error without gRPC's framing.
func rpcMessage(err error) string {
	if st, ok := status.FromError(err); ok && st.Message() != "" {
		return st.Message()
	}
	return err.Error()
}

// explain adds to a call's error what the node knows: for an unknown name the
// nearest known one, and whether it is the name of a supervisor.
func (a *app) explain(ctx context.Context, node *client.Client, err error) error {
	exit, ok := errors.AsType[*exitError](rpcError(err))
	if !ok || exit.code != exitNoService || exit.hint != "" {
		return rpcError(err)
	}
	exit.hint = `"bhnode status" lists the services`
	supervisors, known := knownNames(ctx, node)
	isNone := func(name string) bool { return !slices.Contains(known, name) }
	isSupervisor := func(name string) bool { return slices.Contains(supervisors, name) }
	if i := slices.IndexFunc(a.asked, isSupervisor); i >= 0 && !slices.ContainsFunc(a.asked, isNone) {
		name := a.asked[i]
		return &exitError{
			code: exitUsage, what: name + " is a supervisor: name one of the services below it",
			hint: fmt.Sprintf("\"bhnode status %s\" shows them", name),
		}
	}
	if name := nearest(a.asked, known); name != "" {
		exit.hint = fmt.Sprintf("did you mean %q?", name)
	}
	return exit
}

// nearest is the known name most like the first asked one that is unknown, ""
// when none is like it.
func nearest(asked, known []string) string {
	i := slices.IndexFunc(asked, func(n string) bool { return !slices.Contains(known, n) })
	if i < 0 {
		return ""
	}
	best, at := "", 2+len(asked[i])/4
	for _, name := range known {
		d := distance(asked[i], name)
		if strings.HasPrefix(name, asked[i]) {
			d = 0
		}
		if d < at {
			best, at = name, d
		}
	}
	return best
}

// distance is the number of single-rune edits, swaps of neighbours included,
// between two words.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last := make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row := make([]int, len(t)+1)
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = slices.Min([]int{last[j] + 1, row[j-1] + 1, last[j-1] + cost})
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(t)]
}
