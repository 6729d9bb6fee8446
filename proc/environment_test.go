package proc

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	life := Life{ID: "n/svc/3", Instance: "i"}
	ids := []string{"BLACKHOLE_SERVICE=svc", "BHNODE_ID=n/svc/3", "BHNODE_INSTANCE=i"}
	with := func(vars ...string) []string { return slices.Concat(vars, ids) }
	own := []string{
		"PATH=/bin", "HOME=/root", "NOTIFY_SOCKET=/x", "LISTEN_FDS=1", "LISTEN_PID=1", "WATCHDOG_USEC=1", "INVOCATION_ID=1",
		"JOURNAL_STREAM=1", "CREDENTIALS_DIRECTORY=/c", "BHNODE_ID=other/x/1", "BHNODE_SOCKET=/s", "BLACKHOLE_PORT=1", "LISTENER=me",
	}
	for _, tc := range []struct {
		name string
		spec ServiceSpec
		life Life
		want []string
	}{
		{"nothing inherited", ServiceSpec{}, life, with()},
		{
			"all but what means bhnode itself",
			ServiceSpec{Inherit: Inherit{All: true}},
			life, with("PATH=/bin", "HOME=/root", "LISTENER=me"),
		},
		{
			"the named alone, and never the private",
			ServiceSpec{Inherit: Inherit{Names: []string{"HOME", "NOTIFY_SOCKET", "BHNODE_ID"}}},
			life, with("HOME=/root"),
		},
		{
			"env over env_file over inherited",
			ServiceSpec{
				Inherit: Inherit{Names: []string{"PATH"}},
				EnvFile: []EnvVar{{"PATH", "/file"}, {"A", "file"}, {"B", "file"}},
				Env:     []EnvVar{{"B", "env"}},
			},
			life, with("PATH=/file", "A=file", "B=env"),
		},
		{
			"nobody passes for another",
			ServiceSpec{Env: []EnvVar{{"BHNODE_ID", "x/y/1"}, {"BLACKHOLE_SERVICE", "y"}}},
			life,
			[]string{"BHNODE_ID=n/svc/3", "BLACKHOLE_SERVICE=svc", "BHNODE_INSTANCE=i"},
		},
		{
			"env is expanded, env_file is not",
			ServiceSpec{
				TCPPort: 80,
				EnvFile: []EnvVar{{"F", "${BLACKHOLE_PORT}"}},
				Env:     []EnvVar{{"E", "p=${BLACKHOLE_PORT} ${HOME}"}},
			},
			life,
			[]string{
				"F=${BLACKHOLE_PORT}", "E=p=80 ${HOME}", "BLACKHOLE_SERVICE=svc", "BLACKHOLE_PORT=80",
				"BHNODE_ID=n/svc/3", "BHNODE_INSTANCE=i",
			},
		},
		{
			"90 % of the memory",
			ServiceSpec{Limits: Limits{MemoryMB: 1024}},
			life, with("GOMEMLIMIT=943718KiB"),
		},
		{
			"unless said otherwise",
			ServiceSpec{Limits: Limits{MemoryMB: 1024}, Env: []EnvVar{{"GOMEMLIMIT", "off"}}},
			life, with("GOMEMLIMIT=off"),
		},
		{
			"all there is",
			ServiceSpec{
				UnixSocket: "/s", TCPPort: 1, DataDir: "/d", LogLevel: "info",
				Peers: []Peer{{"my-db.2", "/db", 2}, {"web", "", 0}},
			},
			Life{ID: "n/svc/3", Instance: "i", ConfigPath: "/c", NotifySocket: "/n"},
			[]string{
				"BLACKHOLE_SERVICE=svc", "BLACKHOLE_CONFIG=/c", "BLACKHOLE_SOCKET=/s", "BLACKHOLE_PORT=1", "BLACKHOLE_DATA_DIR=/d",
				"BLACKHOLE_LOG_LEVEL=info", "BLACKHOLE_SOCKET_MY_DB_2=/db", "BLACKHOLE_PORT_MY_DB_2=2", "NOTIFY_SOCKET=/n",
				"BHNODE_ID=n/svc/3", "BHNODE_INSTANCE=i",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.Name = "svc"
			if diff := cmp.Diff(tc.want, tc.spec.Environment(own, tc.life)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	env := []string{"BLACKHOLE_PORT=80", "BLACKHOLE_X=${BLACKHOLE_PORT}", "HOME=/root"}
	for in, want := range map[string]string{
		"":                                   "",
		"plain $ text":                       "plain $ text",
		"${BLACKHOLE_PORT}":                  "80",
		":${BLACKHOLE_PORT}/${HOME}":         ":80/${HOME}",
		"${BLACKHOLE_NONE}!":                 "!",
		"${BLACKHOLE_X}":                     "${BLACKHOLE_PORT}",
		"$BLACKHOLE_PORT":                    "$BLACKHOLE_PORT",
		"${BLACKHOLE_PORT":                   "${BLACKHOLE_PORT",
		"${BLACKHOLE_}":                      "${BLACKHOLE_}",
		"${BLACKHOLE_A:-b}":                  "${BLACKHOLE_A:-b}",
		"${BLACKHOLE_${BLACKHOLE_PORT}}":     "${BLACKHOLE_80}",
		"${BLACKHOLE_PORT}${BLACKHOLE_PORT}": "8080",
		"$${BLACKHOLE_PORT}":                 "${BLACKHOLE_PORT}",
		"$$${BLACKHOLE_PORT}":                "$80",
		"$$$${BLACKHOLE_PORT}":               "$${BLACKHOLE_PORT}",
		"$$ $${HOME}":                        "$$ $${HOME}",
	} {
		if got := Expand(env, in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
