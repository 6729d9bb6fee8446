package configs

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc"
)

func TestWhatAProcessIsBornWith(t *testing.T) {
	c := mustParse(t, `
defaults: {nice: 5, umask: "0027"}
services:
  plain: {command: [a]}
  full:
    command: [b]
    oom_score_adj: -500
    no_new_privileges: true
    capabilities: [net_bind_service, CAP_KILL]
    resources: {processes: 10, required: true}
  none: {command: [c], capabilities: []}
`)
	plain, full, none := c.Services[0], c.Services[1], c.Services[2]
	want := proc.ServiceSpec{
		Nice: new(5), OOMScoreAdj: new(-500), Umask: new(fs.FileMode(0o027)), NoNewPrivileges: true,
		Capabilities: &[]string{"CAP_NET_BIND_SERVICE", "CAP_KILL"}, Limits: proc.Limits{Processes: 10, Required: true},
	}
	got := proc.ServiceSpec{
		Nice: full.Nice, OOMScoreAdj: full.OOMScoreAdj, Umask: full.Umask, NoNewPrivileges: full.NoNewPrivileges,
		Capabilities: full.Capabilities, Limits: full.Limits,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("full (-want +got):\n%s", diff)
	}
	if *plain.Nice != 5 || plain.NoNewPrivileges || plain.Capabilities != nil || *plain.Umask != 0o027 {
		t.Errorf("plain is %+v", plain.ServiceSpec)
	}
	if none.Capabilities == nil || len(*none.Capabilities) != 0 {
		t.Errorf("none keeps %v, want none of them", none.Capabilities)
	}
	shown := c.Show()
	for _, line := range []string{`umask: "0027"`, "nice: 5", "oom_score_adj: -500", "no_new_privileges: true", "capabilities: [CAP_NET_BIND_SERVICE, CAP_KILL]", "required: true"} {
		if !strings.Contains(shown, line) {
			t.Errorf("Show lacks %q:\n%s", line, shown)
		}
	}
}

func TestAServiceWithAUserGetsNoNewPrivileges(t *testing.T) {
	m := testMachine(testEnv)
	m.uid = 0
	for text, want := range map[string]bool{"": true, ", no_new_privileges: false": false} {
		c, err := parse(t, m, "services: {a: {command: [a], user: nobody"+text+"}}")
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Services[0].NoNewPrivileges; got != want {
			t.Errorf("with %q it is %v, want %v", text, got, want)
		}
	}
}
