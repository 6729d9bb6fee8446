package configs

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// service loads one service, named a, from the keys under it.
func service(t *testing.T, keys string) Service {
	t.Helper()
	indented := strings.ReplaceAll(strings.TrimSpace(keys), "\n", "\n    ")
	c := mustParse(t, "services:\n  a:\n    "+indented+"\n")
	return c.Services[0]
}

func TestDefaultCommandNamesWhatApplies(t *testing.T) {
	for keys, want := range map[string]string{
		"enabled: true":                  "/usr/bin/bhnode service a --socket ${BLACKHOLE_SOCKET}",
		"tcp_port: 1":                    "/usr/bin/bhnode service a --socket ${BLACKHOLE_SOCKET} --port ${BLACKHOLE_PORT}",
		"config: {x: 1}":                 "/usr/bin/bhnode service a --config ${BLACKHOLE_CONFIG} --socket ${BLACKHOLE_SOCKET}",
		"unix_socket: \"\"\ntcp_port: 1": "/usr/bin/bhnode service a --port ${BLACKHOLE_PORT}",
	} {
		if got := strings.Join(service(t, keys).Command, " "); got != want {
			t.Errorf("%q runs %q, want %q", keys, got, want)
		}
	}
}

func TestDefaultHealthCheck(t *testing.T) {
	for _, test := range []struct{ keys, kind, target string }{
		{"enabled: true", "grpc", "unix:/etc/bh/run/svc/a/a.sock"},
		{"tcp_port: 7\nunix_socket: \"\"", "grpc", "127.0.0.1:7"},
		{"command: [x]", "none", ""},
		{"command: [x]\ntcp_port: 7", "none", ""},
		{"command: [x]\nhealth_check: {}", "none", ""},
		{"command: [x]\ntcp_port: 7\nhealth_check: {interval: 1s}", "grpc", "127.0.0.1:7"},
		{"command: [x]\nunix_socket: x.sock\nhealth_check:", "grpc", "unix:/etc/bh/x.sock"},
		{"command: [x]\ntcp_port: 7\nhealth_check: {type: tcp}", "tcp", "127.0.0.1:7"},
		{"command: [x]\nhealth_check: {type: tcp, target: \"unix:x.sock\"}", "tcp", "unix:/etc/bh/x.sock"},
		{"command: [x]\nhealth_check: {type: tcp, target: \"unix:///x.sock\"}", "tcp", "unix:/x.sock"},
		{"command: [x]\nhealth_check: {type: tcp, target: \"[::1]:80\"}", "tcp", "[::1]:80"},
		{"command: [x]\nhealth_check: {type: grpc, target: \"unix:${BLACKHOLE_SOCKET}\"}", "grpc", "unix:${BLACKHOLE_SOCKET}"},
		{"command: [x]\nhealth_check: {type: http, target: \"http://localhost:${HPORT:-80}/\"}", "http", "http://localhost:80/"},
		{"command: [x]\nhealth_check: {type: log, target: \"^ready$\"}", "log", "^ready$"},
		{"command: [x]\nhealth_check: {type: notify}", "notify", ""},
	} {
		p := service(t, test.keys).Probe
		if string(p.Type) != test.kind || p.Target != test.target {
			t.Errorf("%q is checked by %s %q, want %s %q", test.keys, p.Type, p.Target, test.kind, test.target)
		}
	}
	if h := service(t, "health_check: {interval: 100ms, start_period: infinity}").Health; h.StartInterval != 100*time.Millisecond || h.StartPeriod != 0 {
		t.Errorf("start interval %s, want no more than the interval; start period %s, want 0", h.StartInterval, h.StartPeriod)
	}
}

func TestEveryKeyOfAService(t *testing.T) {
	got := service(t, `
description: all of it
command: ["./bin/x", -p, 5, "${BLACKHOLE_PORT}"]
env: {N: 0080, B: true, S: "${BHTEST_PORT}", R: "${BLACKHOLE_SOCKET}"}
env_file: ""
inherit_env: [PATH, HOME]
working_dir: work
data_dir: d
log_level: debug
unix_socket: x.sock
tcp_port: ${BHTEST_PORT}
health_check: {type: exec, target: "./check '${BLACKHOLE_PORT}'", timeout: 1s, retries: 2, successes: 4, on_unhealthy: report}
restart:
  type: on_failure
  success_codes: [3, TERM, SIGINT]
  max_restarts: unlimited
  initial_delay: 0
  on_exhausted: keep
shutdown: {signal: int, timeout: infinity}
hooks: {pre_start: [[mkdir, -p, x], "./y z"], post_stop: echo done, timeout: 5s}
x-note: mine
`)
	want := proc.ServiceSpec{
		Name:    "a",
		Command: []string{"/etc/bh/bin/x", "-p", "5", "${BLACKHOLE_PORT}"},
		Inherit: proc.Inherit{Names: []string{"PATH", "HOME"}},
		Env: []proc.EnvVar{
			{Name: "N", Value: "0080"}, {Name: "B", Value: "true"}, {Name: "S", Value: "50007"}, {Name: "R", Value: "${BLACKHOLE_SOCKET}"},
		},
		WorkingDir:     "/etc/bh/work",
		DataDir:        "/etc/bh/d",
		LogLevel:       "debug",
		UnixSocket:     "/etc/bh/x.sock",
		TCPPort:        50007,
		StopSignal:     syscall.SIGINT,
		SuccessCodes:   []int{3},
		SuccessSignals: []syscall.Signal{syscall.SIGTERM, syscall.SIGINT},
		Hooks: proc.Hooks{
			PreStart: [][]string{{"mkdir", "-p", "x"}, {"/etc/bh/y", "z"}},
			PostStop: [][]string{{"echo", "done"}},
			Timeout:  5 * time.Second,
		},
		Probe: proc.ProbeSpec{Type: proc.ProbeExec, Argv: []string{"/etc/bh/check", "${BLACKHOLE_PORT}"}, Timeout: time.Second},
	}
	if diff := cmp.Diff(want, got.ServiceSpec); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
	child := got.child
	if child.Restart != supervision.Transient || child.Intensity != nil || child.Backoff.Initial != 0 ||
		child.OnExhausted != supervision.Keep || child.Shutdown.Mode != supervision.Infinity {
		t.Errorf("child is %+v", child)
	}
	if got.Health.Retries != 2 || got.Health.Successes != 4 || got.Health.OnUnhealthy != supervision.ReportUnhealthy {
		t.Errorf("health is %+v", got.Health)
	}
	if mode := service(t, "shutdown: {timeout: brutal_kill}").child.Shutdown.Mode; mode != supervision.BrutalKill {
		t.Errorf("brutal_kill is mode %d", mode)
	}
	if max := service(t, "restart: {max_restarts: \"${N:-7}\"}").child.Intensity.Max; max != 7 {
		t.Errorf("max_restarts from a variable is %d, want 7", max)
	}
}

func TestAccountsChangeDefaults(t *testing.T) {
	m := testMachine(testEnv)
	m.uid = 0
	c, err := parse(t, m, "node: {group: bh}\nservices: {a: {command: [a], user: nobody, group: \"65534\"}}")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Services[0]
	if s.User != "nobody" || s.Group != "65534" || s.Inherit.All || s.WorkingDir != "/etc/bh/data/a" || c.Control.SocketMode != 0o660 {
		t.Errorf("user %q, group %q, inherit %v, in %s, socket mode %o", s.User, s.Group, s.Inherit, s.WorkingDir, c.Control.SocketMode)
	}
}

func TestDefaultsGoUnderEveryService(t *testing.T) {
	c := mustParse(t, `
defaults:
  env: {A: 1, B: 2}
  restart: {max_restarts: 9, initial_delay: 3s}
  command: [def]
  health_check: {type: tcp, target: "localhost:1"}
services:
  a:
  b: {env: {B: 3, C: 4}, restart: {max_restarts: 1}, command: [own], health_check: }
`)
	a, b := c.Services[0], c.Services[1]
	if diff := cmp.Diff([]proc.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "3"}, {Name: "C", Value: "4"}}, b.Env); diff != "" {
		t.Errorf("env of b (-want +got):\n%s", diff)
	}
	if a.Command[0] != "def" || b.Command[0] != "own" || a.child.Intensity.Max != 9 || b.child.Intensity.Max != 1 {
		t.Errorf("a %q %d, b %q %d", a.Command, a.child.Intensity.Max, b.Command, b.child.Intensity.Max)
	}
	if b.child.Backoff.Initial != 3*time.Second || a.Probe.Type != proc.ProbeTCP || b.Probe.Type != proc.ProbeNone {
		t.Errorf("initial delay %s; probes %s and %s", b.child.Backoff.Initial, a.Probe.Type, b.Probe.Type)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	c := mustParse(t, `
x-one: &one {command: [one], tcp_port: 1, log_level: warn}
x-two: &two {command: [two], description: two}
services:
  a: *one
  b: {<<: *one, tcp_port: 2}
  c: {tcp_port: 3, <<: [*two, *one]}
  d: {<<: *two, command: !!str &cmd "d e"}
  e: {command: *cmd, env: {X: !!str 7}}
`)
	want := [][]any{
		{"one", 1, "warn", ""},
		{"one", 2, "warn", ""},
		{"two", 3, "warn", "two"},
		{"d", 0, "info", "two"},
		{"d", 0, "info", ""},
	}
	for i, s := range c.Services {
		if diff := cmp.Diff(want[i], []any{s.Command[0], s.TCPPort, s.LogLevel, s.Description}); diff != "" {
			t.Errorf("service %s (-want +got):\n%s", s.Name, diff)
		}
	}
}

func TestServiceConfigIsHandedOnAsItIs(t *testing.T) {
	s := service(t, `
config:
  number: 1_000
  octal: 0644
  float: 1.50
  yes: yes
  date: 2026-01-02
  quoted: "0644"
  nothing:
  text: |
    two
    lines "here"
  expanded: ${BHTEST_PORT}
  dollar: $$x $${BLACKHOLE_PORT} ${BLACKHOLE_PORT}
  "odd key: #": [a, "b, c", {d: [e, [f]]}, {}, []]
  x-kept: 1
`)
	want := `number: 1_000
octal: 0644
float: 1.50
yes: yes
date: 2026-01-02
quoted: "0644"
nothing: null
text: "two\nlines \"here\"\n"
expanded: "50007"
dollar: "$x ${BLACKHOLE_PORT} ${BLACKHOLE_PORT}"
"odd key: #":
  - a
  - "b, c"
  - d:
      - e
      - [f]
  - {}
  - []
x-kept: 1
`
	if diff := cmp.Diff(want, string(s.Config)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	m := testMachine(map[string]string{"BAD": "\xff"})
	if _, err := parse(t, m, "services: {a: {config: {x: '${BAD}'}}}"); err == nil || !strings.Contains(err.Error(), "its value is not UTF-8 text") {
		t.Errorf("a value that YAML cannot hold gives %v", err)
	}
}
