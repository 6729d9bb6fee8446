// Package packaging holds what is shipped beside the program to what the program does.
package packaging

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blackhole/bhnode/configs"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unit is a unit of systemd: the values of each key, by section.
func unit(t *testing.T, text string) map[string]map[string][]string {
	t.Helper()
	sections, section := map[string]map[string][]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, value, isKey := strings.Cut(line, "=")
		switch {
		case line == "", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			sections[section] = map[string][]string{}
		case isKey && section != "":
			sections[section][name] = append(sections[section][name], value)
		default:
			t.Errorf("this is no line of a unit: %q", line)
		}
	}
	return sections
}

// shipped is the configuration for the unit.
func shipped(t *testing.T) *configs.Config {
	t.Helper()
	src, err := configs.Find(filepath.Join(root, "packaging/systemd/blackhole.yaml"), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(src, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestTheUnitDoesWhatBhnodeNeeds(t *testing.T) {
	service := unit(t, read(t, "packaging/systemd/bhnode.service"))["Service"]
	for key, want := range map[string]string{
		"Type": "notify-reload", "Delegate": "yes", "DelegateSubgroup": "supervisor", "KillMode": "process", "Restart": "always",
		"RestartPreventExitStatus": "2", "OOMPolicy": "continue", "RuntimeDirectoryPreserve": "yes", "NotifyAccess": "main",
	} {
		if got := service[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %s", key, got, want)
		}
	}
	for _, key := range []string{
		"OOMScoreAdjust", "NoNewPrivileges", "PrivateTmp", "ProtectSystem", "ProtectHome", "SystemCallFilter", "CapabilityBoundingSet", "User",
	} {
		if got := service[key]; got != nil {
			t.Errorf("%s is %q, which every service would inherit", key, got)
		}
	}
	cfg := shipped(t)
	stop, err := time.ParseDuration(service["TimeoutStopSec"][0])
	if err != nil || stop <= cfg.Node.ShutdownTimeout {
		t.Errorf("TimeoutStopSec is %v, %v; bhnode may take %v", stop, err, cfg.Node.ShutdownTimeout)
	}
	if every, err := time.ParseDuration(service["WatchdogSec"][0]); err != nil || every < 10*time.Second {
		t.Errorf("WatchdogSec is %v, %v", every, err)
	}
	for key, dir := range map[string]string{
		"RuntimeDirectory": "/run/", "StateDirectory": "/var/lib/", "LogsDirectory": "/var/log/",
	} {
		want := map[string]string{"RuntimeDirectory": cfg.Node.RuntimeDir, "StateDirectory": cfg.Node.DataDir, "LogsDirectory": cfg.Logs.Dir}[key]
		if got := dir + service[key][0]; got != want {
			t.Errorf("%s is %s, the configuration says %s", key, got, want)
		}
	}
}

// What is shipped calls bhnode with words that it knows, and as it is installed.
func TestCommandLinesAreUnderstood(t *testing.T) {
	program := filepath.Join(t.TempDir(), "bhnode")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/blackhole/bhnode/cmd/bhnode").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := strings.Fields(unit(t, read(t, "packaging/systemd/bhnode.service"))["Service"]["ExecStart"][0])
	lines := [][]string{start}
	for _, words := range instructions(t) {
		if quoted := regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(words, -1); strings.Contains(words, `["/usr/bin/bhnode"`) {
			var line []string
			for _, q := range quoted {
				line = append(line, q[1])
			}
			lines = append(lines, line)
		}
	}
	lines = append(lines, []string{"/usr/bin/bhnode", "run"}) // ENTRYPOINT and CMD
	for _, line := range lines {
		if line[0] != "/usr/bin/bhnode" {
			t.Errorf("%q is not where bhnode is installed", line[0])
		}
		if out, err := exec.Command(program, append(line[1:], "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", line, err, out)
		}
	}
	if !slices.Contains(start, "/etc/bhnode/blackhole.yaml") {
		t.Errorf("ExecStart is %q, which names another configuration than the one that bhnode finds", start)
	}
}

// instructions are the lines of the Containerfile.
func instructions(t *testing.T) (list []string) {
	t.Helper()
	scan := bufio.NewScanner(strings.NewReader(read(t, "packaging/Containerfile")))
	for scan.Scan() {
		if line := strings.TrimSpace(scan.Text()); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

func TestTheContainerIsBuiltFromWhatIsThere(t *testing.T) {
	list := instructions(t)
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	if !slices.Contains(list, "FROM golang:"+version+" AS build") {
		t.Errorf("it is not built with Go %s, which go.mod asks for", version)
	}
	for _, want := range []string{`ENTRYPOINT ["/usr/bin/bhnode"]`, `CMD ["run"]`, "STOPSIGNAL SIGTERM"} {
		if !slices.Contains(list, want) {
			t.Errorf("there is no %s", want)
		}
	}
	for _, line := range list {
		words := strings.Fields(line)
		if words[0] != "COPY" || words[1] == "." || strings.HasPrefix(words[1], "--") {
			continue
		}
		for _, from := range words[1 : len(words)-1] {
			if _, err := os.Stat(filepath.Join(root, from)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	cfg := shipped(t)
	volumes := `VOLUME ["` + cfg.Node.DataDir + `", "` + cfg.Logs.Dir + `"]`
	if !slices.Contains(list, volumes) {
		t.Errorf("there is no %s, though the configuration writes there", volumes)
	}
}
