package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// launcherFD names, in the environment of a detached node, the descriptor on which
// it tells its launcher how its start went.
const launcherFD = "BHNODE_LAUNCHER_FD"

// launcher is told, once, how the start of a detached node went. For a node in the
// foreground nobody is.
type launcher struct{ pipe *os.File }

func newLauncher(getenv func(string) (string, bool)) *launcher {
	text, ok := getenv(launcherFD)
	if !ok {
		return &launcher{}
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return &launcher{}
	}
	syscall.CloseOnExec(fd)
	return &launcher{pipe: os.NewFile(uintptr(fd), "launcher")}
}

// waits tells whether there is one, and it was not told yet.
func (l *launcher) waits() bool { return l.pipe != nil }

// ready lets the launcher go: the node has come up.
func (l *launcher) ready() { l.tell("ready") }

// failed tells the launcher that the node has ended before it came up.
func (l *launcher) failed(err error) {
	if err != nil {
		l.tell("failed")
	}
}

func (l *launcher) tell(word string) {
	if l.pipe == nil {
		return
	}
	_, _ = io.WriteString(l.pipe, word) // a launcher that is gone need not know
	_ = l.pipe.Close()
	l.pipe = nil
}

// startDetached starts a node in the background and returns once it has come up.
// What it says until then is shown and goes to a file in its log directory; what the
// services say later is in their logs only.
func (a *app) startDetached(ctx context.Context, configFlag string) error {
	src, cfg, err := a.load(nil)
	if err != nil {
		return configError(err)
	}
	a.warn(cfg)
	out, name, err := detachedOutput(cfg.Logs.Dir)
	if err != nil {
		return failure("", "cannot start a node in the background: %v", err)
	}
	defer func() { _ = out.Close() }()
	from, _ := out.Seek(0, io.SeekEnd)
	read, write, err := os.Pipe()
	if err != nil {
		return failure("", "cannot start a node in the background: %v", err)
	}
	defer func() { _ = read.Close() }()
	cmd, err := detachedCommand(configFlag)
	if err == nil {
		cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{write}
		err = cmd.Start()
	}
	_ = write.Close()
	if err != nil {
		return failure("", "cannot start a node in the background: %v", err)
	}
	word, err := await(ctx, read)
	if err != nil {
		return failure(`"bhnode status" shows how it goes on`, "stopped waiting for the node (pid %d): %v", cmd.Process.Pid, err)
	}
	if word != "ready" {
		return detachedFailure(cmd, name, from)
	}
	a.err.printf("bhnode runs in the background: pid %d, config %s, output in %s\n", cmd.Process.Pid, src, name)
	return cmd.Process.Release()
}

// detachedOutput opens the file that takes what bhnode prints of its start.
func detachedOutput(dir string) (*os.File, string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	name := filepath.Join(dir, "bhnode.out")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	return f, name, err
}

func detachedCommand(configFlag string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"run"}
	if configFlag != "" {
		args = append(args, "--config", configFlag)
	}
	cmd := exec.Command(self, args...) //nolint:noctx // it outlives us
	cmd.Env = append(os.Environ(), launcherFD+"=3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, nil
}

// await reads until the other side closes.
func await(ctx context.Context, pipe *os.File) (string, error) {
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := io.ReadAll(pipe)
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return string(a.text), a.err
	case <-ctx.Done():
		_ = pipe.Close()
		return "", ctx.Err()
	}
}

// detachedFailure repeats what the node said before it ended.
func detachedFailure(cmd *exec.Cmd, name string, from int64) error {
	err := cmd.Wait()
	exit := &exitError{code: exitFailed, what: "the node could not be started", hint: "its output is in " + name}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.ExitCode() > 0 {
		exit.code = ended.ExitCode()
	}
	said, err := os.ReadFile(name)
	if err == nil && int64(len(said)) > from {
		said = said[from:]
		exit.detail = strings.TrimSpace(string(said))
	}
	if i := bytes.LastIndex(said, []byte("error: ")); i >= 0 {
		what, _, _ := strings.Cut(string(said[i+len("error: "):]), "\n")
		exit.what = fmt.Sprintf("the node could not be started: %s", what)
	}
	return exit
}
