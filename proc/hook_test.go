package proc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunHook(t *testing.T) {
	h := newHost(t)
	p := startReady(t, h, childSpec("wait", ""))
	s := childSpec("wait", "")
	for _, tc := range []struct {
		name, script, output, err string
	}{
		{"good", "echo one; echo two >&2", "one\ntwo\n", ""},
		{"bad", "echo oops; exit 3", "oops\n", "exit 3: oops"},
		{"killed", "kill -9 $$", "", "SIGKILL"},
		{"knows whose it is", `echo "$BHNODE_ID"`, "n/svc/1\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := h.RunHook(t.Context(), s, p.Env(), []string{"sh", "-c", tc.script}, patience)
			if out != tc.output {
				t.Errorf("output %q, want %q", out, tc.output)
			}
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.HasSuffix(err.Error(), tc.err)) {
				t.Errorf("error %v, want …%s", err, tc.err)
			}
		})
	}
}

func TestHookExpandsItsArguments(t *testing.T) {
	h := newHost(t)
	s := childSpec("wait", "")
	s.DataDir = filepath.Join(shortDir(t), "data")
	p := start(t, h, s)
	out, err := h.RunHook(t.Context(), s, p.Env(), []string{"echo", "${BLACKHOLE_DATA_DIR}", "${HOME}"}, patience)
	if err != nil || out != s.DataDir+" ${HOME}\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestHookIsKilledWhole lets a hook outlive its timeout, with helpers in its session
// and outside, and the service go on undisturbed.
func TestHookIsKilledWhole(t *testing.T) {
	h := newHost(t)
	p := startReady(t, h, childSpec("wait", ""))
	s := childSpec("wait", "")
	for _, script := range []string{
		"setsid sleep 1000 & sleep 1000 & trap '' TERM; echo begun; wait",
		"setsid sleep 1000 & echo begun", // it ends at once and leaves one behind
	} {
		timeout := patience
		if strings.HasSuffix(script, "wait") {
			timeout = 300 * time.Millisecond
		}
		out, err := h.RunHook(t.Context(), s, p.Env(), []string{"sh", "-c", script}, timeout)
		for out == "" && timeout < patience/2 { // it was over before it had begun
			timeout *= 2
			out, err = h.RunHook(t.Context(), s, p.Env(), []string{"sh", "-c", script}, timeout)
		}
		if errors.Is(err, context.DeadlineExceeded) != (timeout != patience) {
			t.Errorf("%s: %v", script, err)
		}
		if out != "begun\n" {
			t.Errorf("output %q", out)
		}
		if got := carriers(t, p.mark.id, h.instance); len(got) != 1 || got[0] != p.Pid() {
			t.Errorf("%s: alive are %v, want %d alone", script, got, p.Pid())
		}
	}
	if h.Lookup("svc") != p || !alive(p.Pid()) {
		t.Error("the service is gone too")
	}
}

func TestKillTakesRunningHooks(t *testing.T) {
	h := newHost(t)
	p := startReady(t, h, childSpec("wait", ""))
	ended := make(chan error, 1)
	go func() {
		_, err := h.RunHook(t.Context(), childSpec("wait", ""), p.Env(), []string{"sleep", "1000"}, 0)
		ended <- err
	}()
	left(t, p, 2)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "SIGKILL") {
		t.Errorf("the probe ended with %v", err)
	}
}

func TestPostStopKnowsTheEnd(t *testing.T) {
	h := newHost(t)
	for _, tc := range []struct{ mode, arg, want string }{
		{"exit", "3", "exit 3 \n"},
		{"wait", "", "exit  SIGKILL\n"},
	} {
		s := childSpec(tc.mode, tc.arg)
		file := filepath.Join(shortDir(t), "out")
		s.Hooks.PostStop = [][]string{
			{"false"},
			{"sh", "-c", `echo "$BHNODE_REASON $BHNODE_EXIT_CODE $BHNODE_SIGNAL" >` + file},
		}
		p := start(t, h, s)
		if tc.mode == "wait" {
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		awaitExit(t, p)
		awaitGone(t, p)
		err := p.PostStop(t.Context(), s, "exit")
		if hookErr, ok := errors.AsType[*HookError](err); !ok || hookErr.Exit.Code != 1 {
			t.Errorf("the first hook failed, but: %v", err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != tc.want {
			t.Errorf("got %q, %v, want %q", got, err, tc.want)
		}
		p.Release()
	}
}

// TestALateKillSparesPostStop: who ends an incarnation does not wait for its own signals.
func TestALateKillSparesPostStop(t *testing.T) {
	h := newHost(t)
	dir := shortDir(t)
	begun, end := filepath.Join(dir, "begun"), filepath.Join(dir, "end")
	s := childSpec("exit", "0")
	s.Hooks.PostStop = [][]string{{"sh", "-c", "(exec setsid sleep 1000) & echo >" + begun + "; until test -e " + end + "; do sleep 0.01; done"}}
	p := start(t, h, s)
	awaitExit(t, p)
	awaitGone(t, p)
	ended := make(chan error, 1)
	go func() { ended <- p.PostStop(t.Context(), s, "exit") }()
	eventually(t, "the hook runs", func() bool { _, err := os.Stat(begun); return err == nil })
	left(t, p, 0)
	if err := errors.Join(p.SignalLeft(syscall.SIGTERM), p.Kill(), os.WriteFile(end, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the hook ended with %v", err)
	}
	if got := carriers(t, p.mark.id, h.instance); len(got) != 0 {
		t.Errorf("alive are %v", got)
	}
}

// TestPostStopAfterAFailedStart has post_stop clean up after a pre_start that was begun.
func TestPostStopAfterAFailedStart(t *testing.T) {
	h := newHost(t)
	file := filepath.Join(shortDir(t), "out")
	s := childSpec("wait", "")
	s.Hooks.PreStart = [][]string{{"false"}}
	s.Hooks.PostStop = [][]string{{"sh", "-c", `echo "$BHNODE_REASON" >` + file}}
	if _, err := h.Start(t.Context(), s, 1); err == nil {
		t.Fatal("no error")
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "spawn_error\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHookOutputIsBounded(t *testing.T) {
	h := newHost(t)
	p := start(t, h, childSpec("wait", ""))
	out, err := h.RunHook(t.Context(), childSpec("wait", ""), p.Env(),
		[]string{"sh", "-c", "head -c 1000000 /dev/zero; echo end"}, patience)
	if err != nil || len(out) != hookOutput || !strings.HasSuffix(out, "\x00end\n") {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}
