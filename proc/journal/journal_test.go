package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var plenty = Options{MaxSize: 1 << 20, MaxFiles: 8}

func open(t *testing.T, path string, o Options) *Journal {
	t.Helper()
	j, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, j) })
	return j
}

func shut(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// records returns the records from first to last, each caused by the one before.
func records(first, last int) []Record {
	var rs []Record
	for i := first; i <= last; i++ {
		rs = append(rs, Record{
			Seq: uint64(i), Time: noon.Add(time.Duration(i) * time.Second), Type: "service.exited", Service: "ledger",
			Incarnation: 3, Pid: 4711, Cause: uint64(i - 1), Message: "<killed> & gone", Attrs: map[string]any{"signal": "SIGKILL", "n": float64(i)},
		})
	}
	return rs
}

func add(t *testing.T, j *Journal, rs []Record) {
	t.Helper()
	if err := j.Append(rs); err != nil {
		t.Fatal(err)
	}
}

func wantTail(t *testing.T, j *Journal, n int, want []Record) {
	t.Helper()
	got, err := j.Tail(n)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Tail(%d) (-want +got)\n%s", n, diff)
	}
}

func TestRecordAsJSON(t *testing.T) {
	tests := []struct {
		r    Record
		want string
	}{
		{
			Record{Seq: 1, Time: noon, Type: "node.starting"},
			`{"seq":1,"time":"2026-11-23T12:00:00Z","type":"node.starting","incarnation":null,"pid":null,"cause":null,"message":"","attrs":{}}`,
		},
		{
			Record{Seq: 2, Time: noon.In(time.FixedZone("", 3600)), Type: "supervisor.paused", Supervisor: "data", Cause: 1, Message: "a < b"},
			`{"seq":2,"time":"2026-11-23T12:00:00Z","type":"supervisor.paused","supervisor":"data","incarnation":null,"pid":null,"cause":1,"message":"a < b","attrs":{}}`,
		},
		{
			records(3, 3)[0],
			`{"seq":3,"time":"2026-11-23T12:00:03Z","type":"service.exited","service":"ledger","incarnation":3,"pid":4711,"cause":2,"message":"<killed> & gone","attrs":{"n":3,"signal":"SIGKILL"}}`,
		},
	}
	for _, tt := range tests {
		got, err := tt.r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	value := rapid.OneOf(rapid.Just[any](nil), rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Float64Range(-1e15, 1e15).AsAny())
	rapid.Check(t, func(t *rapid.T) {
		want := Record{
			Seq:         rapid.Uint64Min(1).Draw(t, "seq"),
			Time:        time.Unix(rapid.Int64Range(0, 1<<34).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			Type:        rapid.String().Draw(t, "type"),
			Service:     rapid.String().Draw(t, "service"),
			Supervisor:  rapid.String().Draw(t, "supervisor"),
			Incarnation: rapid.Uint64().Draw(t, "incarnation"),
			Pid:         rapid.Int().Draw(t, "pid"),
			Cause:       rapid.Uint64().Draw(t, "cause"),
			Message:     rapid.String().Draw(t, "message"),
		}
		if attrs := rapid.MapOf(rapid.String(), value).Draw(t, "attrs"); len(attrs) > 0 {
			want.Attrs = attrs
		}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Record
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

func TestJournalSurvivesRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "events.jsonl")
	j := open(t, path, plenty)
	if got := j.LastSeq(); got != 0 {
		t.Errorf("LastSeq() = %d of an empty journal", got)
	}
	add(t, j, nil)
	add(t, j, records(1, 2))
	add(t, j, records(3, 3))
	shut(t, j)
	if err := j.Append(records(4, 4)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Append after Close = %v, want %v", err, os.ErrClosed)
	}
	j = open(t, path, plenty)
	if got := j.LastSeq(); got != 3 {
		t.Errorf("LastSeq() = %d, want 3", got)
	}
	add(t, j, records(4, 5))
	wantTail(t, j, 0, nil)
	wantTail(t, j, 2, records(4, 5))
	wantTail(t, j, 99, records(1, 5))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
}

func TestJournalRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	o := Options{MaxSize: 450, MaxFiles: 4} // two records a file
	j := open(t, path, o)
	for i := 1; i <= 19; i++ {
		add(t, j, records(i, i))
	}
	wantTail(t, j, 3, records(17, 19))
	wantTail(t, j, 99, records(13, 19))
	shut(t, j)
	// All of the newest file is lost; the last number is in the one before.
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	o.MaxFiles = 2
	j = open(t, path, o)
	if got := j.LastSeq(); got != 18 {
		t.Errorf("LastSeq() = %d, want 18", got)
	}
	wantTail(t, j, 99, records(17, 18))
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 2 {
		t.Errorf("files %q, %v; want two", files, err)
	}
}

func TestJournalAfterACrash(t *testing.T) {
	for name, tail := range map[string]string{
		"half a record":         `{"seq":4,"ti`,
		"zeros":                 "\x00\x00\x00",
		"a line of other make":  "x\n",
		"a record of no number": "{}\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			j := open(t, path, plenty)
			add(t, j, records(1, 3))
			shut(t, j)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(whole, tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			j = open(t, path, plenty)
			if got := j.LastSeq(); got != 3 {
				t.Errorf("LastSeq() = %d, want 3", got)
			}
			add(t, j, records(4, 4))
			wantTail(t, j, 99, records(1, 4))
		})
	}
}

func TestAppendGoesOnAfterErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "events.jsonl")
	j := open(t, path, Options{MaxSize: 600, MaxFiles: 3})
	add(t, j, records(1, 1))
	if err := j.Append([]Record{{Seq: 2, Attrs: map[string]any{"x": func() {}}}}); err == nil {
		t.Error("Append took what cannot be JSON")
	}
	fullDisk(t, uint64(j.size)+5, func() {
		if err := j.Append(records(2, 3)); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("Append = %v, want %v", err, syscall.EFBIG)
		}
	})
	if got := j.LastSeq(); got != 1 {
		t.Errorf("LastSeq() = %d after errors, want 1", got)
	}
	add(t, j, records(2, 2))
	add(t, j, records(3, 3))
	wantTail(t, j, 9, records(1, 3))
	dir := filepath.Dir(path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.Append(records(4, 4)); err == nil {
			t.Error("Append wrote into no directory")
		}
	}
	if _, err := j.Tail(1); err == nil {
		t.Error("Tail read from no directory")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	add(t, j, records(5, 5))
	wantTail(t, j, 9, records(5, 5))
}

// Where even the cutting off fails, the next Append does it.
func TestAppendEndsWithWhatItCannotCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := open(t, path, plenty)
	add(t, j, records(1, 1))
	if err := j.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(records(2, 2)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Append = %v, want %v", err, os.ErrClosed)
	}
	add(t, j, records(3, 3))
	wantTail(t, j, 9, append(records(1, 1), records(3, 3)...))
}

// fullDisk runs do while no file of this process can grow beyond size.
func fullDisk(t *testing.T, size uint64, do func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	do()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
}

func TestAppendFromManyGoroutines(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "events.jsonl"), Options{MaxSize: 10_000, MaxFiles: 1000})
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := j.Append([]Record{{Seq: uint64(1 + w*each + i), Message: fmt.Sprint(w)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := j.Tail(2 * writers * each)
	if err != nil || len(got) != writers*each {
		t.Errorf("%d records, %v; want %d", len(got), err, writers*each)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, open := range map[string]func() (*Journal, error){
		"no size":     func() (*Journal, error) { return Open(filepath.Join(dir, "x"), Options{MaxFiles: 1}) },
		"no files":    func() (*Journal, error) { return Open(filepath.Join(dir, "x"), Options{MaxSize: 1}) },
		"a directory": func() (*Journal, error) { return Open(dir, plenty) },
		"a device":    func() (*Journal, error) { return Open(filepath.Join(os.DevNull, "x"), plenty) },
	} {
		if j, err := open(); err == nil {
			shut(t, j)
			t.Errorf("%s: opened", name)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	j, err := Open(filepath.Join(b.TempDir(), "events.jsonl"), Options{MaxSize: 16 << 20, MaxFiles: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	rs := records(1, 1)
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Append(rs); err != nil {
			b.Fatal(err)
		}
	}
}
