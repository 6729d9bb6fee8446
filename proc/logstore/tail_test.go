package logstore

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyQuery is a query without its Tail.
func anyQuery(raw bool) *rapid.Generator[Query] {
	return rapid.Custom(func(t *rapid.T) Query {
		q := Query{Level: rapid.SampledFrom([]string{"", "", "trace", "warn", "error"}).Draw(t, "level")}
		if pattern := rapid.SampledFrom([]string{"", "", "boom", `^a "boom"$`, `"b"|\d`, `\\`, "é", "^$", "nothing"}).Draw(t, "grep"); pattern != "" {
			q.Grep = regexp.MustCompile(pattern)
		}
		if !raw {
			q.Stream = rapid.SampledFrom([]string{"", "", "stdout", "stderr"}).Draw(t, "stream")
		}
		if rapid.IntRange(0, 3).Draw(t, "since") == 0 {
			q.Since = noon.Add(time.Duration(rapid.Int64Range(0, 1e12).Draw(t, "since noon")))
		}
		return q
	})
}

// appendTo writes to a file behind the back of its store.
func appendTo(t *rapid.T, path, text string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// anyLog makes a log of some files, among them compressed ones, with lines that are no
// LogEntry, and perhaps one that is not finished.
func anyLog(t *testing.T, rt *rapid.T, dir string) Options {
	t.Helper()
	o := Options{Dir: dir, Service: "web", MaxSize: rapid.Int64Range(200, 3000).Draw(rt, "size"), MaxFiles: 9, Compress: true, Raw: rapid.Bool().Draw(rt, "raw")}
	s, err := Open(o)
	if err != nil {
		rt.Fatal(err)
	}
	for _, batch := range rapid.SliceOfN(rapid.SliceOfN(anyEntry(), 1, 6), 1, 8).Draw(rt, "batches") {
		for i := range batch {
			batch[i].Line = bytes.ReplaceAll(batch[i].Line, []byte("\n"), nil) // a line has none
		}
		if err := s.Append(batch); err != nil {
			rt.Fatal(err)
		}
		appendTo(rt, o.path(), rapid.SampledFrom([]string{"", "", "boom\n", timeKey + "\n", timeKey + "2020-11-23T12:00:01Z\"}\n\n"}).Draw(rt, "between"))
	}
	if err := s.Close(); err != nil {
		rt.Fatal(err)
	}
	awaitGzip(t, o)
	appendTo(rt, o.path(), rapid.SampledFrom([]string{"", "boom", timeKey + "2020"}).Draw(rt, "end"))
	return o
}

// The last n of what matches are what is last of all that match, whether the search keeps
// what it comes upon or not.
func TestTailIsTheEndOfAll(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		for _, name := range names(t, dir) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				rt.Fatal(err)
			}
		}
		o := anyLog(t, rt, dir)
		for range 5 {
			q := anyQuery(o.Raw).Draw(rt, "query")
			all := []Entry{}
			if err := Read(t.Context(), o, q, func(e Entry) bool { all = append(all, e); return true }); err != nil {
				rt.Fatal(err)
			}
			n := rapid.IntRange(0, len(all)+2).Draw(rt, "n")
			r := reader{o: o, q: q, files: chain{o: o, since: q.Since}, room: rapid.SampledFrom([]int{0, 700, 3000, roomForTail}).Draw(rt, "room")}
			got := []Entry{}
			err := r.findTail(t.Context(), n)
			if err == nil {
				err = r.read(t.Context(), func(e Entry) bool { got = append(got, e); return true })
			}
			r.files.close()
			if diff := cmp.Diff(all[max(0, len(all)-n):], got); err != nil || diff != "" {
				rt.Fatalf("the last %d of %+v: %v (-want +got)\n%s", n, q, err, diff)
			}
		}
	})
}
