package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// patient is a configuration for the doctor.
func patientOf(t *testing.T, services string) (config string) {
	t.Helper()
	dir := t.TempDir()
	config = filepath.Join(dir, "blackhole.yaml")
	text := "metrics: {listen: \"\"}\nnode: {name: n}\nservices:\n" + strings.ReplaceAll(services, "@dir", dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// ills are the checks that are not ok, as "status name: message".
func ills(t *testing.T, out string) (all []string) {
	t.Helper()
	var got doctorJSON
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, f := range got.Checks {
		if f.Status != checkOK && f.Name != "isolation" && f.Name != "configuration" && f.Name != "kernel" {
			all = append(all, fmt.Sprintf("%s %s: %s", f.Status, f.Name, f.Message))
		}
	}
	return all
}

func TestDoctorOfAHealthyPatient(t *testing.T) {
	config := patientOf(t, "  a: {command: [sleep, \"1\"], resources: {open_files: 100}}\n")
	got := world{}.exec(t, "doctor", "--config", config)
	if got.code != exitOK || !strings.Contains(got.out, "1 service") || !strings.Contains(got.out, "of 1 service found") {
		t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
	}
	got = world{}.exec(t, "doctor", "-o", "json", "--config", config)
	if bad := ills(t, got.out); got.code != exitOK || len(bad) > 0 {
		t.Errorf("exit code %d, %q", got.code, bad)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(config), "*")); len(left) != 1 {
		t.Errorf("it leaves %v", left)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/bhnode-exam*"); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

func TestDoctorNamesWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	config := patientOf(t, fmt.Sprintf(`  missing: {command: [@dir/none]}
  plain: {command: [@dir/blackhole.yaml]}
  nobody: {command: ["true"], user: no-such-user}
  taken: {command: ["true"], tcp_port: %d}
  off: {enabled: false, command: [@dir/none]}
`, port))
	got := world{}.exec(t, "doctor", "-o", "json", "--config", config)
	dir := filepath.Dir(config)
	want := []string{
		"error programs: missing: stat " + dir + "/none: no such file or directory",
		"error programs: plain: " + dir + "/blackhole.yaml may not be executed by anybody (mode -rw-------): permission denied",
		"error users: nobody: user: unknown user no-such-user",
		fmt.Sprintf("error ports: port %d of taken: somebody else listens on it", port),
	}
	if bad := ills(t, got.out); got.code != exitFailed || strings.Join(bad, "\n") != strings.Join(want, "\n") {
		t.Errorf("exit code %d\n got %q\nwant %q", got.code, bad, want)
	}
	text := world{}.exec(t, "doctor", "--config", config)
	if !strings.Contains(text.out, "-> install it, or mend services.missing.command") || !strings.Contains(text.err, "error: 4 checks failed") {
		t.Errorf("it says\n%s%s", text.out, text.err)
	}
	if err := os.WriteFile(config, []byte("services: {a: {comand: x}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := (world{}).exec(t, "doctor", "--config", config); got.code != exitUsage || !strings.Contains(got.err, "comand") {
		t.Errorf("of a bad configuration: exit code %d\n%s", got.code, got.err)
	}
}

func TestStatusTellsWhereNothingTracksServices(t *testing.T) {
	node := troubled()
	node.isolation = &bhnodev1.Isolation{Backend: "none", Tracking: "BHNODE_ID"}
	socket, _ := serve(t, node)
	got := at(socket).exec(t, "status")
	if want := "note: services are tracked by BHNODE_ID (\"bhnode doctor\" says why)\n"; !strings.Contains(got.err, want) {
		t.Errorf("got %q, want %q", got.err, want)
	}
	if got := at(socket).exec(t, "status", "storage"); !strings.Contains(got.out, "none: BHNODE_ID") {
		t.Errorf("got %q", got.out)
	}
	node.isolation.Whole = true
	if got := at(socket).exec(t, "status"); strings.Contains(got.err, "note:") {
		t.Errorf("got %q", got.err)
	}
	node.isolation.Unenforced = []string{"io_weight", "memory_mb"}
	node.isolation.Problems = []*bhnodev1.Problem{{What: "killing a service whole", Why: "no group can be made", Help: "run bhnode as root"}}
	if got := at(socket).exec(t, "status"); !strings.Contains(got.err, "note: not enforced: io_weight, memory_mb (") {
		t.Errorf("got %q", got.err)
	}
	if got := at(socket).exec(t, "status", "storage"); !strings.Contains(got.out, "no killing a service whole: no group can be made") {
		t.Errorf("got %q", got.out)
	}
}
