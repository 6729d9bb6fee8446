package state

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t *testing.T, dir, base string) *Steps {
	t.Helper()
	st, err := openStore(t, dir).Begin([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func appendAll(t *testing.T, st *Steps, steps ...string) {
	t.Helper()
	for _, s := range steps {
		if err := st.Append([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
}

// recalled is what the next life finds, without the present one having closed anything.
func recalled(t *testing.T, dir string) string {
	t.Helper()
	base, steps, err := openStore(t, dir).Recall()
	if err != nil {
		t.Fatal(err)
	}
	return string(base) + ":" + string(bytes.Join(steps, []byte(",")))
}

func wantRecalled(t *testing.T, dir, want string) {
	t.Helper()
	if got := recalled(t, dir); got != want {
		t.Errorf("the next life finds %q, want %q", got, want)
	}
}

func TestStepsAreThereAsSoonAsTheyAreAppended(t *testing.T) {
	dir := t.TempDir()
	wantRecalled(t, dir, ":")
	st := begin(t, dir, "A")
	wantRecalled(t, dir, "A:")
	appendAll(t, st, "1", "22", "333", "4444", "")
	wantRecalled(t, dir, "A:1,22,333,4444")
	st = begin(t, dir, "B")
	wantRecalled(t, dir, "B:")
	appendAll(t, st, "5")
	if err := openStore(t, dir).Forget(); err != nil {
		t.Fatal(err)
	}
	wantRecalled(t, dir, ":")
}

// A base whose writing ends after the node has is none.
func TestABaseThatComesTooLateIsNotFound(t *testing.T) {
	dir := t.TempDir()
	st := begin(t, dir, "A")
	finish, err := st.Turn()
	if err != nil {
		t.Fatal(err)
	}
	if err := openStore(t, dir).Forget(); err != nil {
		t.Fatal(err)
	}
	if err := finish([]byte("B")); err != nil {
		t.Fatal(err)
	}
	wantRecalled(t, dir, ":")
	begin(t, dir, "C")
	wantRecalled(t, dir, "C:")
}

func TestStepsFindRoom(t *testing.T) {
	dir := t.TempDir()
	st := begin(t, dir, "A")
	long := strings.Repeat("x", stepsSize/3)
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprint(i)+long[:len(long)-i])
	}
	appendAll(t, st, want...)
	wantRecalled(t, dir, "A:"+strings.Join(want, ","))
}

func TestABaseThatIsNotWrittenYetIsNotMissed(t *testing.T) {
	dir := t.TempDir()
	st := begin(t, dir, "A")
	appendAll(t, st, "1")
	finish, err := st.Turn()
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, st, "2")
	wantRecalled(t, dir, "A:1,2")
	if err := finish([]byte("B")); err != nil {
		t.Fatal(err)
	}
	appendAll(t, st, "3")
	wantRecalled(t, dir, "B:2,3")
	if files, _ := filepath.Glob(filepath.Join(dir, "*.*")); len(files) != 2 {
		t.Errorf("these files are there: %v", files)
	}
}

func TestDamagedStepsAreNoticedAndSetAside(t *testing.T) {
	dir := t.TempDir()
	st := begin(t, dir, "A")
	appendAll(t, st, "first", "second", "third")
	data, err := os.ReadFile(st.path())
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("second"))] ^= 1
	if err := os.WriteFile(st.path(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	if _, _, err := s.Recall(); err == nil || !strings.Contains(err.Error(), "damaged at byte") {
		t.Errorf("got %v, want it called damaged", err)
	}
	if err := s.SetAside(); err != nil {
		t.Fatal(err)
	}
	wantRecalled(t, dir, ":")
	if files, _ := filepath.Glob(filepath.Join(dir, "*"+corrupt)); len(files) != 2 {
		t.Errorf("set aside are %v, want both files", files)
	}
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	st, err := s.Begin(nil)
	if err != nil {
		b.Fatal(err)
	}
	step := bytes.Repeat([]byte("x"), 200)
	for b.Loop() {
		if st.Size() > 1<<20 {
			finish, err := st.Turn()
			if err == nil {
				err = finish(nil)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if err := st.Append(step); err != nil {
			b.Fatal(err)
		}
	}
	_ = st.Close()
}

// Steps that a life has left which was killed while it began anew are not gone on with:
// nobody would recall what came behind a generation that is missing.
func TestStepsBehindAGapAreNotGoneOnWith(t *testing.T) {
	dir := t.TempDir()
	appendAll(t, begin(t, dir, "A"), "1")
	files, err := filepath.Glob(filepath.Join(dir, "steps.*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	number, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(files[0]), "."))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "steps."+strconv.Itoa(number+2)), make([]byte, 64), 0o600))
	st, err := openStore(t, dir).Continue()
	must(t, err)
	appendAll(t, st, "2")
	wantRecalled(t, dir, "A:1,2")
}
