package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logLine is one LogEntry, as in a log file and in `logs -o json`.
type logLine struct {
	Time    string
	Service string
	Stream  string
	Pid     int
	Seq     uint64
	Message string
	Base64  string `json:"message_b64"`
	Level   string
	Fields  json.RawMessage
	Partial bool
}

// logFile is what the log of a service holds, over all its files, oldest first.
func (n *node) logFile(service string) []byte {
	n.t.Helper()
	files, err := filepath.Glob(n.path("logs/" + service + ".log*"))
	if err != nil {
		n.t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b string) int { return rotation(n.t, b) - rotation(n.t, a) })
	var all []byte
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			n.t.Fatal(err)
		}
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				n.t.Fatalf("%s: %v", name, err)
			}
		}
		text, err := io.ReadAll(r)
		if err := errors.Join(err, f.Close()); err != nil {
			n.t.Fatalf("%s: %v", name, err)
		}
		all = append(all, text...)
	}
	return all
}

// rotation is the number of a rotated file, 0 for the one that is written to.
func rotation(t *testing.T, name string) int {
	t.Helper()
	_, after, _ := strings.Cut(filepath.Base(name), ".log")
	number := strings.TrimSuffix(strings.TrimPrefix(after, "."), ".gz")
	if number == "" {
		return 0
	}
	i, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("what is %s?", name)
	}
	return i
}

// logLines are the lines in the log of a service.
func (n *node) logLines(service string) []logLine {
	n.t.Helper()
	return parseLines(n.t, string(n.logFile(service)))
}

func parseLines(t *testing.T, text string) []logLine {
	t.Helper()
	var out []logLine
	for line := range strings.Lines(text) {
		out = append(out, parse[logLine](t, line))
	}
	return out
}

func messages(lines []logLine) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Message)
	}
	return out
}

// checkNumbered asserts that the lines of a stream are those that the steps lines and
// complaints write, all of them and in order.
func checkNumbered(t *testing.T, lines []logLine, stream string, want int) {
	t.Helper()
	next := 0
	for _, l := range lines {
		if l.Stream != stream {
			continue
		}
		if l.Message != numberedLine(next) {
			t.Fatalf("got %q as line %d of %s", l.Message, next, stream)
		}
		next++
	}
	if next != want {
		t.Errorf("got %d lines of %s, want %d", next, stream, want)
	}
}

// checkCounted asserts that the lines are numbered without a gap.
func checkCounted(t *testing.T, lines []logLine) {
	t.Helper()
	for i, l := range lines {
		if l.Seq != uint64(i)+1 {
			t.Fatalf("line %d has number %d", i+1, l.Seq)
		}
	}
}

// awaitLine waits until a service has said something.
func (n *node) awaitLine(service, text string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := n.command(ctx, "logs", "-f", "-n", "1000", "-o", "json", service)
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if l := parse[logLine](n.t, lines.Text()); l.Message == text {
			return
		}
	}
	n.t.Fatalf("%s has not said %q: %v\n%s", service, text, lines.Err(), n.story())
}
