package state

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	bad := map[string]string{
		"services/torn.json":    `{"version":1,"life":true,"serv`,
		"services/empty.json":   "",
		"services/newer.json":   `{"version":2,"service":"newer"}`,
		"services/foreign.json": `{"version":1,"life":true,"service":"good","incarnation":5}`,
		"holds.json":            `{"version":1,"holds":{"a":7}}`,
	}
	for name, content := range bad {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, "services", "good.json.tmp"), []byte("half"), 0o600))
	s = open(t, dir)
	if got := len(s.Damaged()); got != len(bad) {
		t.Errorf("damaged: %v", s.Damaged())
	}
	for name := range bad {
		if _, err := os.Stat(filepath.Join(dir, name+".corrupt")); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]Record{{Service: "good", Incarnation: 1}}, s.All()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := open(t, dir).Damaged(); len(got) != 0 {
		t.Errorf("damaged once more: %v", got)
	}
	names, err := filepath.Glob(filepath.Join(dir, "services", "*.tmp"))
	if err != nil || len(names) != 0 {
		t.Errorf("half-written files stay: %v, %v", names, err)
	}
}

func TestAFullDiskIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	must(t, os.RemoveAll(dir))
	for _, err := range []error{s.Put(Record{Service: "x", Incarnation: 1}), s.SetHolds(nil)} {
		if err == nil || !strings.Contains(err.Error(), "cannot write the state") {
			t.Errorf("got %v", err)
		}
	}
	if got := s.LastIncarnations()["x"]; got != 1 {
		t.Errorf("last incarnation %d: what is known should not depend on the disk", got)
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
