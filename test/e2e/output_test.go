package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestALineOfAnyLengthSurvivesWhole(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 20, 5<<20 + 17, 50 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			n := newNode(t, fmt.Sprintf(`
services:
  long: {command: [@self, fill=%d, print=, print=next, fill=3, exit=0], restart: {type: transient}}
`, size))
			n.up()
			n.await("service.completed", "long", 1)
			n.stop()
			lines := n.logLines("long")
			checkCounted(t, lines)
			whole, i := 0, 0
			for ; i < len(lines) && lines[i].Partial; i++ {
				whole += len(lines[i].Message)
			}
			if whole += len(lines[i].Message); whole != size || strings.Trim(lines[i].Message, "x") != "" {
				t.Errorf("the long line came as %d bytes in %d parts, want %d", whole, i+1, size)
			}
			if diff := cmp.Diff([]string{"next", "xxx"}, messages(lines[i+1:])); diff != "" {
				t.Errorf("after the long line: -want +got\n%s", diff)
			}
		})
	}
}

func TestAFloodIsKeptWholeThoughAFollowerDoesNotRead(t *testing.T) {
	t.Parallel()
	const many = 150_000
	n := newNode(t, fmt.Sprintf(`
services:
  flood: {command: [@self, print=begin, until=@dir/go, lines=%d, complaints=1000, "note=@dir/done:all"]}
  calm: {command: [@self, until=@dir/done, print=calm]}
`, many))
	n.up()
	ctx, cancel := context.WithCancel(context.Background())
	stuck := n.command(ctx, "logs", "-f", "-o", "json", "flood")
	out, err := stuck.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stuck.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = stuck.Wait() // it was killed
	}()
	first, err := bufio.NewReader(out).ReadString('\n') // then it reads no more
	if err != nil || !strings.Contains(first, "begin") {
		t.Fatalf("the follower began with %q, %v", first, err)
	}
	n.write("go", "")
	n.awaitLine("calm", "calm")
	n.stop()
	lines := n.logLines("flood")
	checkCounted(t, lines)
	checkNumbered(t, lines[1:], "stdout", many)
	checkNumbered(t, lines, "stderr", 1000)
}

func TestATerminalThatTakesNothingHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  flood: {command: [@self, until=@dir/go, lines=50000, "note=@dir/done:all"]}
  calm: {command: [@self, until=@dir/done, print=calm]}
`)
	n.up()
	n.stdout.mu.Lock() // the pipe fills
	n.write("go", "")
	n.awaitLine("calm", "calm")
	n.do("restart", "calm")
	n.signal(syscall.SIGTERM)
	n.awaitWhere("node.stopped", func(e event) bool { return e.Type == "node.stopped" })
	n.stdout.mu.Unlock()
	if code := n.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	checkNumbered(t, n.logLines("flood"), "stdout", 50000)
}

func TestFollowersSeeEveryLineOnceAcrossRestarts(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  talker: {command: [@self, lines=3000, notify=READY=1], health_check: {type: notify}, restart: {initial_delay: 0}}
`)
	n.up()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := n.command(ctx, "logs", "-f", "--since", "1h", "-o", "json")
	var out output
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.eventually("follower that has caught up", func() bool { return strings.Count(out.String(), "\n") == 3000 })
	before := n.kill("talker", syscall.SIGKILL)
	n.awaitAfter(before, "service.ready", "talker", 2)
	n.do("restart", "talker")
	n.stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the follower ended with %v, want to end with the node", err)
	}
	got := parseLines(t, out.String())
	checkCounted(t, got)
	if len(got) != 9000 {
		t.Errorf("the follower saw %d lines, want 9000", len(got))
	}
}

func TestRawLogsAreTheBytesAsWritten(t *testing.T) {
	t.Parallel()
	every := make([]byte, 0, 4*256)
	for i := range 4 * 256 {
		every = append(every, byte(i*7))
	}
	n := newNode(t, fmt.Sprintf(`
logs: {format: raw}
services:
  raw: {command: [@self, bytes=%s, "print=\r\tand {\"level\":\"info\"}", fill=3, exit=0], restart: {type: transient}}
`, base64.StdEncoding.EncodeToString(every)))
	n.up()
	n.await("service.completed", "raw", 1)
	n.stop()
	want := string(every) + "\r\tand {\"level\":\"info\"}\nxxx"
	if got := string(n.logFile("raw")); got != want {
		t.Errorf("got %d bytes %q, want %d bytes", len(got), got, len(want))
	}
}

func TestJSONLogsKeepWhatIsNoTextAndWhatIsJSON(t *testing.T) {
	t.Parallel()
	odd := "caf\xe9 \x00"
	n := newNode(t, fmt.Sprintf(`
services:
  json:
    command: [@self, bytes=%s, 'print={"level":"warn","msg":"disk <full>","left":1.50,"at":{"b":[1, 2]}}', 'print={"half', "complain=🙂", exit=0]
    restart: {type: transient}
`, base64.StdEncoding.EncodeToString([]byte(odd+"\n"))))
	n.up()
	n.await("service.completed", "json", 1)
	n.stop()
	pid := n.of("service.started", "json")[0].Pid
	lines := n.logLines("json")
	checkCounted(t, lines)
	var out []logLine
	for _, stream := range []string{"stdout", "stderr"} {
		for _, l := range lines {
			if l.Stream == stream {
				if l.Service != "json" || l.Pid != pid || l.Time == "" {
					t.Errorf("the line is from %s, pid %d at %q, want json, pid %d", l.Service, l.Pid, l.Time, pid)
				}
				l.Time, l.Service, l.Stream, l.Pid, l.Seq = "", "", "", 0, 0
				out = append(out, l)
			}
		}
	}
	want := []logLine{
		{Base64: base64.StdEncoding.EncodeToString([]byte(odd))},
		{Message: "disk <full>", Level: "warn", Fields: json.RawMessage(`{"left":1.50,"at":{"b":[1, 2]}}`)},
		{Message: `{"half`},
		{Message: "🙂"},
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("the lines: -want +got\n%s", diff)
	}
}

func TestRotationLosesNoLine(t *testing.T) {
	t.Parallel()
	const many = 60_000 // in files of 1 MiB
	for _, format := range []string{"json", "raw"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, fmt.Sprintf(`
logs: {format: %s, max_size_mb: 1, max_files: 100}
services:
  much: {command: [@self, lines=%d, exit=0], restart: {type: transient}}
`, format, many))
			n.up()
			n.await("service.completed", "much", 1)
			if got := parseLines(t, n.do("logs", "-n", "3", "-o", "json")); len(got) != 3 || got[2].Message != numberedLine(many-1) {
				t.Errorf("the last lines are %v", got)
			}
			n.stop()
			files, err := filepath.Glob(n.path("logs/much.log*"))
			if err != nil || len(files) < 5 {
				t.Errorf("got files %v, %v, want some", files, err)
			}
			if format == "json" {
				lines := n.logLines("much")
				checkCounted(t, lines)
				checkNumbered(t, lines, "stdout", many)
				return
			}
			next := 0
			for line := range strings.Lines(string(n.logFile("much"))) {
				if line != numberedLine(next)+"\n" {
					t.Fatalf("got %q as line %d", line, next)
				}
				next++
			}
			if next != many {
				t.Errorf("got %d lines, want %d", next, many)
			}
		})
	}
}

func TestWhatIsKeptOfALogIsItsNewestPart(t *testing.T) {
	t.Parallel()
	const many = 60_000 // more than three files of 1 MiB hold
	n := newNode(t, fmt.Sprintf(`
logs: {max_size_mb: 1, max_files: 3}
services:
  much: {command: [@self, lines=%d, exit=0], restart: {type: transient}}
`, many))
	n.up()
	n.await("service.completed", "much", 1)
	shown := parseLines(t, n.do("logs", "-o", "json"))
	n.stop()
	files, err := filepath.Glob(n.path("logs/much.log*"))
	if err != nil || len(files) != 3 {
		t.Errorf("got files %v, %v, want three", files, err)
	}
	lines := n.logLines("much")
	if len(lines) == 0 || len(lines) >= many {
		t.Fatalf("got %d lines, want some of %d", len(lines), many)
	}
	for i, l := range lines {
		if want := numberedLine(many - len(lines) + i); l.Message != want {
			t.Fatalf("line %d of %d is %q, want %q", i, len(lines), l.Message, want)
		}
	}
	if diff := cmp.Diff(messages(lines), messages(shown)); diff != "" {
		t.Error("logs does not show exactly what is kept")
	}
}

func TestTheLastLinesBeforeACrashAreThereBeforeItsEvent(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  crasher: {command: [@self, until=@dir/go, complain=first word, lines=2000, complain=last words, die=9], restart: {max_restarts: 0}}
`)
	n.up()
	n.write("go", "")
	gone := n.await("service.exited", "crasher", 1)
	lines := parseLines(t, n.do("logs", "-o", "json", "crasher"))
	checkNumbered(t, lines, "stdout", 2000)
	said := slices.DeleteFunc(slices.Clone(lines), func(l logLine) bool { return l.Stream == "stdout" })
	if diff := cmp.Diff([]string{"first word", "last words"}, messages(said)); diff != "" {
		t.Errorf("what it complained: -want +got\n%s", diff)
	}
	for _, l := range lines {
		if l.Pid != gone.Pid || l.Time > gone.Time.Format("2006-01-02T15:04:05.999999999Z") {
			t.Fatalf("a line is of pid %d at %s, the service ended as %v", l.Pid, l.Time, gone)
		}
	}
	if text := n.do("status", "crasher"); !strings.Contains(text, "last words") {
		t.Errorf("status does not show its last words:\n%s", text)
	}
	n.stop()
}

func TestLogsShowsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  a: {command: [@self, print=a one, complain=a two, print=a three error]}
  b: {command: [@self, until=@dir/now, print=b one, complain=b two error], health_check: {type: log, target: "b two"}, depends_on: [a]}
  off: {command: [@self], enabled: false}
`)
	n.run()
	n.await("service.ready", "a", 1)
	n.write("now", "")
	n.await("node.ready", "", 0)
	firstOfB := slices.MinFunc(parseLines(t, n.do("logs", "b", "-o", "json")), func(x, y logLine) int {
		return strings.Compare(x.Time, y.Time) // the streams are read side by side
	}).Time
	for _, tc := range []struct {
		args []string
		want []string // sorted
	}{
		{nil, []string{"a one", "a three error", "a two", "b one", "b two error"}},
		{[]string{"a"}, []string{"a one", "a three error", "a two"}},
		{[]string{"b", "-n", "0"}, nil},
		{[]string{"a", "b", "-n", "2"}, []string{"b one", "b two error"}},
		{[]string{"--grep", "err.r$"}, []string{"a three error", "b two error"}},
		{[]string{"--stream", "stderr"}, []string{"a two", "b two error"}},
		{[]string{"--stream", "stdout", "--grep", "error"}, []string{"a three error"}},
		{[]string{"--since", firstOfB}, []string{"b one", "b two error"}},
		{[]string{"--since", "1h", "a", "--tail", "50"}, []string{"a one", "a three error", "a two"}},
		{[]string{"--grep", "one", "-n", "1"}, []string{"b one"}},
		{[]string{"off"}, nil},
	} {
		got := messages(parseLines(t, n.do(slices.Concat([]string{"logs", "-o", "json"}, tc.args)...)))
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("logs %s: -want +got\n%s", strings.Join(tc.args, " "), diff)
		}
	}
	for _, tc := range []struct {
		args []string
		code int
	}{
		{[]string{"logs", "c"}, 4},
		{[]string{"logs", "--grep", "("}, 2},
		{[]string{"logs", "--stream", "stdin"}, 2},
		{[]string{"logs", "--since", "yesterday"}, 2},
	} {
		if _, _, code := n.cli(tc.args...); code != tc.code {
			t.Errorf("bhnode %s exits with %d, want %d", strings.Join(tc.args, " "), code, tc.code)
		}
	}
	n.stop()
}

func TestLogsGoOnWhereTheyWereAfterARestartOfTheNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  talker: {command: [@self, lines=10], health_check: {type: log, target: "00009"}}
`)
	for range 3 {
		n.up()
		n.stop()
	}
	lines := n.logLines("talker")
	checkCounted(t, lines)
	if len(lines) != 30 {
		t.Errorf("got %d lines, want 30", len(lines))
	}
}

func TestLogsByLevelAndAsTheyAre(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it:
    command: [@self, 'print={"level":"debug","msg":"quiet"}', 'print={"level":"ERROR","msg":"loud"}', print=plain, "print=\e[31mred"]
    health_check: {type: log, target: red}
`)
	n.up()
	for _, tc := range []struct {
		level string
		want  []string
	}{{"error", []string{"loud"}}, {"debug", []string{"loud", "quiet"}}, {"fatal", nil}} {
		got := messages(parseLines(t, n.do("logs", "-o", "json", "--level", tc.level)))
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("--level %s: -want +got\n%s", tc.level, diff)
		}
	}
	if got := n.do("logs", "--raw"); got != "quiet\nloud\nplain\n\x1b[31mred\n" {
		t.Errorf("got %q", got)
	}
	if got := n.do("logs"); strings.Contains(got, "\x1b") {
		t.Errorf("an escape reaches the terminal: %q", got)
	}
	if _, _, code := n.cli("logs", "--level", "loud"); code != 2 {
		t.Errorf("exit %d", code)
	}
	n.stop()
}
