package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordsSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir)
	full := Record{
		Service: "ledger", Incarnation: 4, BootID: "b", Pid: 12, StartTime: 99, StopSignal: 15, Grace: time.Second, Socket: "/s", Group: &Group{Leaf: "/g", Base: [4]uint64{1, 2, 3, 4}},
	}
	must(t, s.Put(Record{Service: "ledger", Incarnation: 4}))
	must(t, s.Put(full))
	must(t, s.Put(Record{Service: "a/b %", Incarnation: 1}))
	must(t, s.Put(Record{Service: "over", Incarnation: 9}))
	must(t, s.Delete("over"))
	must(t, s.Delete("over"))
	must(t, s.Delete("never"))
	for _, st := range []*Store{s, open(t, dir)} {
		if diff := cmp.Diff([]Record{{Service: "a/b %", Incarnation: 1}, full}, st.All()); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		want := map[string]uint64{"a/b %": 1, "ledger": 4, "over": 9}
		if diff := cmp.Diff(want, st.LastIncarnations()); diff != "" {
			t.Errorf("last incarnations (-want +got):\n%s", diff)
		}
		if got := st.Damaged(); len(got) != 0 {
			t.Errorf("damaged: %v", got)
		}
	}
}

// TestARecordIsWrittenAsJSON compares with encoding/json, which reads it back.
func TestARecordIsWrittenAsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts, number := rapid.SliceOfN(rapid.String(), 0, 3), rapid.Uint64()
		want := file{Version: 1, Life: rapid.Bool().Draw(t, "life"), Record: Record{
			Service: rapid.String().Draw(t, "service"), Incarnation: number.Draw(t, "incarnation"), BootID: rapid.String().Draw(t, "boot"),
			Pid: rapid.IntRange(0, 1<<22).Draw(t, "pid"), StartTime: number.Draw(t, "start"), StopSignal: rapid.IntRange(0, 64).Draw(t, "signal"),
			Grace: time.Duration(rapid.IntRange(0, 1<<40).Draw(t, "grace")), Socket: rapid.String().Draw(t, "socket"),
			Started: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC(),
			Stdout:  number.Draw(t, "stdout"), Stderr: number.Draw(t, "stderr"),
		}}
		if rapid.Bool().Draw(t, "grouped") {
			want.Group = &Group{
				Leaf: rapid.String().Draw(t, "leaf"), Frozen: rapid.Bool().Draw(t, "frozen"), Limited: rapid.Bool().Draw(t, "limited"),
				Holders: texts.Draw(t, "holders"), Enter: texts.Draw(t, "enter"),
				Counts: rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "counts"),
				Ran:    time.Duration(rapid.IntRange(0, 1<<40).Draw(t, "ran")), Base: [4]uint64{number.Draw(t, "base"), 1, 0, 3},
			}
		}
		var got file
		text := want.append(nil)
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("it comes back changed (-want +got):\n%s", diff)
		}
	})
}

func TestHoldsSurvive(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if got := s.Holds(); len(got) != 0 {
		t.Errorf("holds of nothing: %v", got)
	}
	want := map[string]Hold{"a": {Only: true}, "b": {}}
	must(t, s.SetHolds(want))
	for _, st := range []*Store{s, open(t, dir)} {
		if diff := cmp.Diff(want, st.Holds()); diff != "" {
			t.Errorf("holds (-want +got):\n%s", diff)
		}
	}
	maps.Copy(s.Holds(), map[string]Hold{"c": {}})
	if len(s.Holds()) != 2 {
		t.Error("the caller changes what is held")
	}
	must(t, s.SetHolds(nil))
	if got := open(t, dir).Holds(); len(got) != 0 {
		t.Errorf("holds %v, want none", got)
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir)
	must(t, s.Put(Record{Service: "x", Incarnation: 1}))
	must(t, s.SetHolds(nil))
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode().Perm())
		}
		return err
	}))
}

func TestDamagedFilesAreSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	must(t, s.Put(Record{Service: "good", Incarnation: 1}))
	path := filepath.Join(dir, recordsFile)
	data, err := os.ReadFile(path)
	must(t, err)
	bad := []string{
		`{"version":1,"life":true,"serv`,
		"",
		`{"version":2,"service":"newer"}`,
		`{"version":1,"life":true,"service":"good","incarnation":5}`,
	}
	for _, text := range bad {
		data = append(data, text...)
		data = append(data, make([]byte, pageSize-len(text))...)
	}
	data = append(data, "half a page"...)
	must(t, os.WriteFile(path, data, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, holdsFile), []byte(`{"version":1,"holds":{"a":7}}`), 0o600))
	s = open(t, dir)
	if diff := cmp.Diff([]string{path, filepath.Join(dir, holdsFile)}, s.Damaged()); diff != "" {
		t.Errorf("damaged (-want +got):\n%s", diff)
	}
	if aside, err := os.ReadFile(path + corrupt); err != nil || !bytes.Equal(aside, data) {
		t.Errorf("what was there is not kept: %v", err)
	}
	must(t, s.Put(Record{Service: "next", Incarnation: 2})) // in one of their places
	for _, st := range []*Store{s, open(t, dir)} {
		if diff := cmp.Diff([]Record{{Service: "good", Incarnation: 1}, {Service: "next", Incarnation: 2}}, st.All()); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	}
	if got := open(t, dir).Damaged(); len(got) != 0 {
		t.Errorf("damaged once more: %v", got)
	}
}

func TestAFullDiskIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	must(t, s.Close())
	must(t, os.RemoveAll(dir))
	for _, err := range []error{s.Put(Record{Service: "x", Incarnation: 1}), s.SetHolds(nil)} {
		if err == nil || !strings.Contains(err.Error(), "cannot write the state") {
			t.Errorf("got %v", err)
		}
	}
	if got := s.LastIncarnations()["x"]; got != 1 {
		t.Errorf("last incarnation %d: what is known should not depend on the disk", got)
	}
	long := Record{Service: "x", Socket: strings.Repeat("s", pageSize)}
	if err := open(t, dir).Put(long); !errors.Is(err, errTooLong) {
		t.Errorf("a record of more than a page: %v", err)
	}
	if _, err := Open("/dev/null/state"); err == nil {
		t.Error("opened below a file")
	}
}

func TestManyServicesAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprint("svc", i)
			for n := range uint64(10) {
				if err := s.Put(Record{Service: name, Incarnation: n + 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := open(t, dir).All(); len(got) != 50 || got[7].Incarnation != 10 {
		t.Errorf("got %v", got)
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Put(Record{Service: "x", Incarnation: 1, BootID: "b", Pid: 1, StartTime: 1, Socket: "/s"}); err != nil {
			b.Fatal(err)
		}
	}
}
