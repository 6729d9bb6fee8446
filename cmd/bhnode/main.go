package main

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"
)

// The main goroutine stays on the main thread: what is to die with the node is
// forked there, as a parent-death signal follows the thread that forked.
func init() { //nolint:gochecknoinits // only an init can pin the main goroutine before it may move
	runtime.LockOSThread()
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], stdio{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.LookupEnv, now: time.Now,
	}))
}

// stdio is what a command sees of the world around it.
type stdio struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) (string, bool)
	now            func() time.Time
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, std stdio) int {
	a := newApp(std)
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(std.stdin)
	root.SetOut(std.stdout)
	root.SetErr(std.stderr)
	if completes(args) {
		plainFlags(root)
	}
	return a.report(root.ExecuteContext(ctx))
}
