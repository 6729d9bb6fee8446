package host_test

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proto/host"
)

func TestFromEnv(t *testing.T) {
	var log lines
	got, err := host.FromEnv([]string{
		"PATH=/bin", "BLACKHOLE_SERVICE=wallet", "BLACKHOLE_SOCKET=w.sock", "BLACKHOLE_PORT=50009",
		"BLACKHOLE_LOG_LEVEL=debug",
		"BLACKHOLE_PORT_LEDGER=50004", "BLACKHOLE_SOCKET_LEDGER=l.sock",
		"BLACKHOLE_SOCKET_IDENTITY=i.sock", "BLACKHOLE_PORT_IDENTITY=",
		"BLACKHOLE_PORT_STORAGE=50002",
	}, &log)
	if err != nil {
		t.Fatal(err)
	}
	got.Log.Debug().Msg("seen")
	checkLog(t, log.String(), "seen")
	if got.Name != "wallet" || got.Socket != "w.sock" || got.Port != 50009 {
		t.Errorf("got %+v", got)
	}
	want := []host.Dependency{
		{Name: "identity", Socket: "i.sock"},
		{Name: "ledger", Socket: "l.sock", Port: 50004},
		{Name: "storage", Port: 50002},
	}
	if diff := cmp.Diff(want, got.Dependencies); diff != "" {
		t.Error(diff)
	}
}

func TestFromEnvNamesTheMistake(t *testing.T) {
	for _, env := range []string{
		"BLACKHOLE_PORT=many", "BLACKHOLE_PORT=0", "BLACKHOLE_PORT_LEDGER=70000", "BLACKHOLE_LOG_LEVEL=loud",
	} {
		_, value, _ := strings.Cut(env, "=")
		if _, err := host.FromEnv([]string{env}, io.Discard); err == nil || !strings.Contains(err.Error(), value) {
			t.Errorf("%s: got %v, want an error that names %q", env, err, value)
		}
	}
}
