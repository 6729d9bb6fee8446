package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// The keys of the contract.
const (
	serviceKeys = `name state health wanted held pid incarnation supervisor restarts exit started_at uptime_seconds
		health_detail cpu_percent memory_rss_bytes memory_vms_bytes threads open_files connections io_read_bytes
		io_write_bytes unix_socket tcp_port depends_on reason message`
	exitKeys   = "code signal oom_killed time"
	detailKeys = "last_check last_error latency_seconds failures"
	treeKeys   = "name kind strategy order state health pid incarnation restarts uptime_seconds actor children"
)

func assertKeys(t *testing.T, where, want string, got any) {
	t.Helper()
	object, ok := got.(map[string]any)
	if !ok {
		t.Fatalf("%s is %T", where, got)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(strings.Fields(want))), slices.Sorted(maps.Keys(object))); diff != "" {
		t.Errorf("keys of %s (-want +got):\n%s", where, diff)
	}
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

func TestStatusJSONHasExactlyTheKeysOfTheContract(t *testing.T) {
	node := troubled()
	node.services = append(node.services, &bhnodev1.Service{Name: "bare"})
	socket, _ := serve(t, node)
	got := at(socket).exec(t, "status", "-o", "json")
	all := parse(t, got.out)
	assertKeys(t, "status", "node services", all)
	services := all["services"].([]any)
	if len(services) != 7 || all["node"] != "alpha" {
		t.Errorf("%d services of %v", len(services), all["node"])
	}
	for _, s := range services {
		assertKeys(t, "service", serviceKeys, s)
		assertKeys(t, "exit", exitKeys, s.(map[string]any)["exit"])
		assertKeys(t, "health_detail", detailKeys, s.(map[string]any)["health_detail"])
	}
	golden(t, "status-json", got.out)
	if got.code != exitOK || got.err != "" {
		t.Errorf("exit %d, stderr %q", got.code, got.err)
	}

	one := parse(t, at(socket).exec(t, "status", "ledger", "-o", "json").out)
	assertKeys(t, "status of one", "node services", one)
	if diff := cmp.Diff(services[2:3], one["services"]); diff != "" {
		t.Errorf("status of one differs from that among all:\n%s", diff)
	}
}

func TestTreeJSONHasExactlyTheKeysOfTheContract(t *testing.T) {
	socket, _ := serve(t, troubled())
	got := at(socket).exec(t, "tree", "-o", "json")
	var walk func(any)
	walk = func(v any) {
		assertKeys(t, "tree", treeKeys, v)
		for _, c := range v.(map[string]any)["children"].([]any) {
			walk(c)
		}
	}
	walk(parse(t, got.out))
	golden(t, "tree-json", got.out)
}

func TestStreamsAreOneObjectALine(t *testing.T) {
	socket, _ := serve(t, troubled())
	for _, name := range []string{"logs", "events"} {
		got := at(socket).exec(t, name, "-o", "json")
		for line := range strings.Lines(got.out) {
			parse(t, line)
		}
		golden(t, name+"-json", got.out)
	}
}

func TestHealthJSON(t *testing.T) {
	socket, _ := serve(t, troubled())
	got := at(socket).exec(t, "health", "-o", "json")
	v := parse(t, got.out)
	assertKeys(t, "health", "node healthy services", v)
	assertKeys(t, "service", "name state health wanted health_detail", v["services"].([]any)[0])
	if v["healthy"] != false || got.code != exitFailed {
		t.Errorf("healthy %v, exit %d", v["healthy"], got.code)
	}
}

func TestJSONNeverDrivesATerminal(t *testing.T) {
	node := troubled()
	text := "\u009b2J \x7f \x1b[2J caf\u00e9 \u00a0"
	node.entries = []*bhnodev1.LogEntry{{Message: []byte(text), Fields: []byte("{\"k\":\"\u0085\"}")}}
	socket, _ := serve(t, node)
	got := at(socket).exec(t, "logs", "-o", "json")
	assertHarmless(t, got.out)
	v := parse(t, got.out)
	if v["message"] != text || v["fields"].(map[string]any)["k"] != "\u0085" {
		t.Errorf("%q does not carry all", got.out)
	}
}
