package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// terminal is a real one, in which a command of a node runs.
type terminal struct {
	t             *testing.T
	server        string // the socket of tmux
	width, height int
	plain         bool // without colour and UTF-8
}

// terminals are those that a screen has to look right on.
var terminals = []terminal{{width: 80, height: 24}, {width: 200, height: 60}, {width: 80, height: 24, plain: true}}

func (s terminal) String() string {
	return fmt.Sprintf("%dx%d,plain=%v", s.width, s.height, s.plain)
}

// on runs test on each terminal.
func on(t *testing.T, test func(t *testing.T, s terminal)) {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("there is no tmux here; CI installs Debian's")
	}
	for _, s := range terminals {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			s.t = t
			test(t, s)
		})
	}
}

// open runs a command of a node in the terminal; what it exits with is shown at the end.
func (s *terminal) open(n *node, args ...string) {
	s.t.Helper()
	s.server = n.path("tmux")
	locale := "C.UTF-8"
	env := append(os.Environ(), n.env...)
	if s.plain {
		locale = "C"
		env = append(env, "NO_COLOR=1")
	}
	cmd := n.command(context.Background(), args...)
	line := "trap : INT; '" + strings.Join(cmd.Args, "' '") + "'; code=$?; echo; echo \"it exited with $code\"; exec sleep 1000"
	start := exec.CommandContext(s.t.Context(), "tmux", "-u", "-S", s.server, "-f", os.DevNull, "new-session", "-d",
		"-x", fmt.Sprint(s.width), "-y", fmt.Sprint(s.height), "sh", "-c", line)
	start.Env = append(env, "LC_ALL="+locale, "COLUMNS=", "TERM=xterm-256color")
	start.Dir = n.dir
	if out, err := start.CombinedOutput(); err != nil {
		s.t.Fatalf("tmux: %v\n%s", err, out)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the screen:\n%s", s.see())
		}
		s.tmux("kill-server")
	})
}

func (s *terminal) tmux(args ...string) string {
	out, _ := exec.CommandContext(context.Background(), "tmux", append([]string{"-S", s.server}, args...)...).Output() // gone: it shows nothing
	return string(out)
}

// press types keys by the names that tmux has for them.
func (s *terminal) press(keys ...string) {
	for _, k := range keys {
		s.tmux("send-keys", k)
	}
}

// see is what is on the screen.
func (s *terminal) see() string { return s.tmux("capture-pane", "-p") }

// await waits until all the texts, which are regular expressions, are on the screen, and
// checks that it keeps to what the terminal can show.
func (s *terminal) await(n *node, texts ...string) string {
	s.t.Helper()
	screen := ""
	n.eventually(fmt.Sprintf("the screen shows %q", texts), func() bool {
		screen = s.see()
		for _, text := range texts {
			if !regexp.MustCompile("(?m)" + text).MatchString(screen) {
				return false
			}
		}
		return true
	})
	if s.plain {
		for _, r := range screen {
			if r > 0x7e {
				s.t.Errorf("%q is no ASCII:\n%s", r, screen)
				break
			}
		}
	}
	coloured := strings.Contains(s.tmux("capture-pane", "-p", "-e"), "\x1b[3")
	if coloured == s.plain {
		s.t.Errorf("colours %v on a terminal with plain=%v", coloured, s.plain)
	}
	return screen
}

const screened = `
services:
  db: {command: [@self, "print=a line"], restart: {initial_delay: 0}}
  web: {command: [@self], depends_on: [db], restart: {initial_delay: 0}, resources: {open_files: 100}}
`

func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s terminal) {
		t.Helper()
		n := newNode(t, screened)
		n.up()
		s.open(n, "top")
		s.await(n, `^`+n.name+`  cpu .*2 services: 2 running`, `^machine  load`, `NAME +STATE +CPU%`,
			`db +\S+ running +\d`, `web +\S+ running`, `log of db`, `a line`, `q quit`)
		s.press("j", "e")
		s.await(n, `events of web`, `service.ready`)
		s.press("/")
		s.press("d", "b")
		screen := s.await(n, `filter: db`, `log of db|events of db`)
		if regexp.MustCompile(`(?m)web +\S+ running`).MatchString(screen) {
			t.Errorf("web is shown:\n%s", screen)
		}
		s.press("Enter", "Escape")
		s.await(n, `web +\S+ running`)
		s.press("r")
		s.await(n, `restart db\?`, `stops +web`, `then +db`, `starts +db`, `then +web`)
		before := n.log.last()
		s.press("n")
		s.await(n, `events of db`)
		s.press("r")
		s.await(n, `restart db\?`, `starts +db`)
		s.press("y")
		s.await(n, `restart db: done`)
		n.awaitWhere("db was restarted by an operator", func(e event) bool {
			return e.Seq > before && e.Type == "service.starting" && e.Service == "db"
		})
		s.press("s")
		s.await(n, `s by cpu`)
		s.press("?")
		s.await(n, `who is touched is shown first`)
		s.press("?", "q")
		s.awaitEnd(n, `it exited with 0`)
		n.stop()
	})
}

// awaitEnd waits for the end of the command.
func (s *terminal) awaitEnd(n *node, text string) {
	s.t.Helper()
	n.eventually("the screen shows "+text, func() bool { return strings.Contains(s.see(), text) })
}

func TestTreeIsWatchedOnATerminal(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s terminal) {
		t.Helper()
		n := newNode(t, screened)
		n.up()
		s.open(n, "tree", "--watch")
		s.await(n, `^root +\S+ running`, `db +\S+ running +healthy +pid \d+`, `web +\S+ running +healthy +pid \d+.*db$`)
		n.kill("db", syscall.SIGKILL)
		s.await(n, `db +\S+ running .*1 restart`, `web +\S+ running`)
		n.do("stop", "web")
		s.await(n, `web +\S+( \])? stopped`)
		s.press("C-c")
		s.awaitEnd(n, `it exited with 0`)
		n.stop()
	})
}

func TestRunOnATerminal(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, s terminal) {
		t.Helper()
		n := newNode(t, screened+"  slow: {command: [@self, until=@dir/go, notify=READY=1], health_check: {type: notify}}\n")
		s.open(n, "run")
		s.await(n, `Starting 3 services`, `db +running`, `slow +starting`)
		n.write("go", "")
		s.await(n, `All 3 services healthy`, `db +\S a line`)
		s.press("C-c")
		s.awaitEnd(n, `it exited with 0`)
		if screen := s.see(); !strings.Contains(screen, "stopped") && !strings.Contains(screen, "Stopp") {
			t.Errorf("it does not say that it stops:\n%s", screen)
		}
		if _, err := os.Stat(filepath.Join(n.rundir, "bhnode.sock")); err == nil {
			t.Error("its socket is left")
		}
	})
}
