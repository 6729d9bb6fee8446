package proc

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// newPipe makes an output and the file that is written to.
func newPipe(tb testing.TB, p *poller) (*Output, *os.File) {
	tb.Helper()
	r, fd, err := p.outputPipe(account{})
	if err != nil {
		tb.Fatal(err)
	}
	w := os.NewFile(uintptr(fd), "w")
	tb.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

func startPoller(tb testing.TB) *poller {
	tb.Helper()
	p, err := newPoller()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// reading has r read once and returns what came of it.
func reading(r *Output) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 16))
		result <- err
	}()
	return result
}

func wantEnd(t *testing.T, result <-chan error, want error) {
	t.Helper()
	select {
	case err := <-result:
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatalf("still reading, want %v", want)
	}
}

func TestOutputWaitsForMore(t *testing.T) {
	r, w := newPipe(t, startPoller(t))
	for i := range 100 {
		result := reading(r)
		if _, err := w.WriteString(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, result, nil)
	}
	result := reading(r)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, result, io.EOF)
}

func TestOutputDeadline(t *testing.T) {
	r, w := newPipe(t, startPoller(t))
	set := func(at time.Time) {
		t.Helper()
		if err := r.SetReadDeadline(at); err != nil {
			t.Fatal(err)
		}
	}
	set(time.Now().Add(-time.Second))
	wantEnd(t, reading(r), os.ErrDeadlineExceeded)
	set(time.Now().Add(20 * time.Millisecond))
	wantEnd(t, reading(r), os.ErrDeadlineExceeded)
	set(time.Now().Add(time.Hour))
	result := reading(r)
	set(time.Now()) // moved while somebody waits
	wantEnd(t, result, os.ErrDeadlineExceeded)
	set(time.Time{})
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, reading(r), nil)
}

func TestOutputClose(t *testing.T) {
	r, _ := newPipe(t, startPoller(t))
	if err := r.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	result := reading(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, result, os.ErrClosed)
	for _, err := range []error{r.Close(), r.SetReadDeadline(time.Now())} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestManyOutputs(t *testing.T) {
	p := startPoller(t)
	var wg sync.WaitGroup
	for range 300 {
		r, w := newPipe(t, p)
		wg.Go(func() {
			if got, err := io.ReadAll(r); err != nil || len(got) != 3 {
				t.Errorf("got %q, %v", got, err)
			}
		})
		wg.Go(func() {
			for range 3 {
				if _, err := w.WriteString("x"); err != nil {
					t.Error(err)
				}
			}
			_ = w.Close()
		})
	}
	wg.Wait()
}

// TestAPauseIsNotDisturbed writes lines into a pipe while its reader pauses, and finds
// that most are read together.
func TestAPauseIsNotDisturbed(t *testing.T) {
	h := newHost(t)
	p := start(t, h, &ServiceSpec{Name: "svc", Command: []string{"sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done"}})
	lines, deliveries := 0, 0
	began := time.Now()
	Capture(p.Stdout(), func(_ time.Time, got []Line) { lines += len(got); deliveries++ })
	// A slow writer writes little during a pause: then there are no more than pauses fit in.
	fit := int(time.Since(began)/readPause) + 8
	if lines != 20000 || deliveries > max(lines/10, fit) {
		t.Errorf("%d lines in %d deliveries", lines, deliveries)
	}
}

// TestABusyPipeIsForgotten: its writes find nobody to tell, until its reader waits again.
func TestABusyPipeIsForgotten(t *testing.T) {
	r, w := newPipe(t, startPoller(t))
	first := reading(r)
	eventually(t, "it is watched while its reader waits", func() bool { return isWatched(r) })
	for i := range busy {
		if _, err := w.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			wantEnd(t, first, nil)
		} else if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if got, want := isWatched(r), i < busy-1; got != want {
			t.Errorf("after %d reads that found something: watched %t, want %t", i+1, got, want)
		}
	}
	result := reading(r)
	eventually(t, "it is watched again", func() bool { return isWatched(r) })
	_ = w.Close()
	wantEnd(t, result, io.EOF)
}

// TestAStreamThatEndsWithoutAWordIsToldSo is about who has to be listened to.
func TestAStreamThatEndsWithoutAWordIsToldSo(t *testing.T) {
	for name, tc := range map[string]struct {
		do    func(r *Output, w *os.File)
		ended bool
	}{
		"it is closed":              {func(_ *Output, w *os.File) { _ = w.Close() }, true},
		"something is written":      {func(_ *Output, w *os.File) { _, _ = w.WriteString("x") }, false},
		"it is cut by its deadline": {func(r *Output, _ *os.File) { _ = r.SetReadDeadline(time.Now()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, w := newPipe(t, startPoller(t))
			told := make(chan bool, 1)
			r.onFirst(func(ended bool) { told <- ended })
			tc.do(r, w)
			select {
			case ended := <-told:
				if ended != tc.ended {
					t.Errorf("told is that it has ended: %t, want %t", ended, tc.ended)
				}
			case <-time.After(patience):
				t.Fatal("nothing is told")
			}
		})
	}
}

// TestAnEventOfAnotherWatchIsNotTold has an event come for a number that another pipe has by now,
// and then one of a pipe that was written to later.
func TestAnEventOfAnotherWatchIsNotTold(t *testing.T) {
	p := startPoller(t)
	r, w := newPipe(t, p)
	later, wLater := newPipe(t, p)
	told := make(chan string, 2)
	r.onFirst(func(bool) { told <- "stale" })
	later.onFirst(func(bool) { told <- "later" })
	p.mu.Lock()
	p.last++
	p.watched[int32(r.fd)] = watch{r, p.last}
	p.mu.Unlock()
	_ = w.Close()
	_ = wLater.Close()
	select {
	case got := <-told:
		if got != "later" {
			t.Error("an event of another watch was told")
		}
	case <-time.After(patience):
		t.Fatal("nothing is told")
	}
}

func isWatched(o *Output) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watched
}

func TestPipeOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a pipe away")
	}
	r, w, err := startPoller(t).outputPipe(account{uid: 65534, gid: 65534, cred: &syscall.Credential{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), syscall.Close(w) }()
	var st syscall.Stat_t
	if err := syscall.Fstat(w, &st); err != nil || st.Uid != 65534 {
		t.Errorf("belongs to %d, %v", st.Uid, err)
	}
}
