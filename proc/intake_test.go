package proc

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// landing is a log in memory.
type landing struct {
	mu    sync.Mutex
	lines []string
	open  string // the beginning of a line that comes in parts
	// stuck: batches wait until release, as if bhnode was killed meanwhile.
	stuck   bool
	waiting chan struct{} // one is
	release chan struct{}
}

func (l *landing) into(in *Intake) Deliver {
	return func(_ time.Time, lines []Line, upTo uint64) bool {
		l.mu.Lock()
		if l.stuck {
			l.mu.Unlock()
			select {
			case l.waiting <- struct{}{}:
			default:
			}
			<-l.release
			return true
		}
		defer l.mu.Unlock()
		for _, line := range lines {
			l.open += string(line.Data)
			if !line.Partial {
				l.lines = append(l.lines, l.open)
				l.open = ""
			}
		}
		in.Landed(7, int64(len(l.lines)), uint64(len(l.lines)), "stdout", upTo)
		return true
	}
}

func (l *landing) set(stuck bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = stuck
}

func (l *landing) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n") + "\n"
}

// pipe is an Output and its writing end.
func pipe(t *testing.T) (*Output, *os.File) {
	t.Helper()
	p, err := newPoller()
	must(t, err)
	o, w, err := p.outputPipe(account{})
	must(t, err)
	f := os.NewFile(uintptr(w), "pipe")
	t.Cleanup(func() {
		_ = o.Close() // it may be closed already
		_ = f.Close()
		must(t, p.close())
	})
	return o, f
}

// What was read and had not landed when bhnode was killed lands in its next life, once, and
// so does the rest of a line that had begun.
func TestAnIntakeLosesNothing(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", lineMost+lineMost/2)
	for name, tc := range map[string]struct{ first, unlanded, next string }{
		"lines":                {"a\nb\n", "c\nd\n", "e\n"},
		"a line that is cut":   {"a\nb", "c\nd", "e\n"},
		"one of many parts":    {"a\n" + long, long + "\nz", "z\n"},
		"many lines":           {strings.Repeat("0123456789\n", 20000), strings.Repeat("abcdefghi\n", 20000), "end\n"},
		"a byte":               {"", "a", "\n"},
		"nothing but newlines": {"\n\n", "\n\n\n", "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			service := strings.ReplaceAll(name, " ", "-")
			in, err := openIntake(dir, service)
			must(t, err)
			log := &landing{waiting: make(chan struct{}, 1), release: make(chan struct{})}
			o, w := pipe(t)
			var lives sync.WaitGroup
			live := func(o *Output, in *Intake, goesOn bool) {
				lives.Go(func() { CaptureSafe(o, in, "stdout", goesOn, log.into(in)) })
			}
			say := func(text string) {
				_, err := io.WriteString(w, text)
				must(t, err)
			}
			live(o, in, false)
			say(tc.first)
			landed := tc.first[:strings.LastIndexByte(tc.first, '\n')+1]
			eventually(t, "it has landed", func() bool { return strings.HasPrefix(log.text(), landed) && o.there() == 0 })
			log.set(true)
			said := make(chan struct{})
			go func() { defer close(said); say(tc.unlanded) }() // it may be more than a pipe holds
			if strings.Contains(tc.unlanded, "\n") || len(tc.unlanded) > lineMost {
				<-log.waiting
			} else {
				<-said
				eventually(t, "it is read", func() bool { return o.there() == 0 })
			}
			again := killed(t, in)
			fd, err := unix.Dup(o.fd)
			must(t, err)
			next := newOutput(o.poller, fd)
			must(t, o.Close()) // what the first life does from here on nobody sees
			dead := log
			log = &landing{lines: dead.lines, open: dead.open}
			live(next, again, true)
			<-said
			say(tc.next)
			eventually(t, "all has landed", func() bool { return log.text() == tc.first+tc.unlanded+tc.next })
			must(t, next.Close())
			close(dead.release)
			lives.Wait()
			must(t, again.discard())
			if _, err := os.Stat(again.path); err == nil {
				t.Error("its file is left though all has landed")
			}
		})
	}
}

// killed is the intake as the next life finds it; the present one does no harm to that.
func killed(t *testing.T, in *Intake) *Intake {
	t.Helper()
	data, err := os.ReadFile(in.path)
	must(t, err)
	must(t, os.WriteFile(in.path+"-again", data, 0o600))
	again, err := openIntake(filepath.Dir(in.path), filepath.Base(in.path)+"-again")
	must(t, err)
	return again
}

// Of a read that was under way the next life sees whether it came to pass.
func TestAReadUnderWayIsResolved(t *testing.T) {
	for name, tc := range map[string]struct{ pending, wrote, want int }{
		"not begun":            {100, 0, 0},
		"done":                 {100, 100, 100},
		"done, large":          {3 * intakePage, 3 * intakePage, 3 * intakePage},
		"one byte, not begun":  {1, 0, 0},
		"cut off after a page": {3 * intakePage, intakePage, intakePage},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := openIntake(t.TempDir(), "it")
			must(t, err)
			must(t, in.ensure())
			half := in.half(0, 0)
			must(t, in.makeRoom(0, 0, 4*intakePage))
			copy(half, "before\n")
			in.change(func(m *mark) { m.Streams[0].End = 7 })
			in.fill(half[7 : 7+tc.pending])
			in.change(func(m *mark) { m.Streams[0].Pending = uint64(tc.pending) })
			copy(half[7:], bytes.Repeat([]byte{'\n'}, tc.wrote))
			again := killed(t, in)
			if s := again.now.Streams[0]; s.End != uint64(7+tc.want) || s.Pending != 0 || s.Start != 0 {
				t.Errorf("found is %+v, want %d bytes more", s, tc.want)
			}
		})
	}
}

func TestAnIntakeThatMakesNoSenseIsSetAside(t *testing.T) {
	dir := t.TempDir()
	for i, data := range [][]byte{[]byte("short"), make([]byte, intakeSize)} {
		path := filepath.Join(dir, fmt.Sprint(i))
		must(t, os.WriteFile(path, data, 0o600))
		in, err := openIntake(dir, fmt.Sprint(i))
		must(t, err)
		if _, err := os.Stat(path + ".corrupt"); err != nil || in.mapped != nil {
			t.Errorf("it was not set aside: %v", err)
		}
	}
}

// Where the disk has no room, output is taken all the same.
func TestOutputIsTakenWhereItCannotBeKeptSafe(t *testing.T) {
	in, err := openIntake("/proc/nowhere", "it")
	must(t, err)
	o, w := pipe(t)
	_, err = io.WriteString(w, "a\nb\nc")
	must(t, err)
	must(t, w.Close())
	var got []string
	CaptureSafe(o, in, "stdout", false, func(_ time.Time, lines []Line, _ uint64) bool {
		for _, l := range lines {
			got = append(got, string(l.Data))
		}
		return true
	})
	if text := strings.Join(got, ","); text != "a,b,c" {
		t.Errorf("got %q", text)
	}
}

func BenchmarkCaptureSafe(b *testing.B) {
	in, err := openIntake(b.TempDir(), "it")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.discard() }()
	p, err := newPoller()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.close() }()
	for _, safe := range []bool{false, true} {
		b.Run(fmt.Sprintf("safe=%v", safe), func(b *testing.B) {
			o, w, err := p.outputPipe(account{})
			if err != nil {
				b.Fatal(err)
			}
			block := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 655)
			b.SetBytes(int64(len(block)))
			go func() {
				for range b.N {
					_, _ = unix.Write(w, block)
				}
				_ = unix.Close(w)
			}()
			b.ResetTimer()
			if !safe {
				Capture(o, func(time.Time, []Line) {})
			} else {
				CaptureSafe(o, in, "stdout", false, func(time.Time, []Line, uint64) bool { return false })
			}
			_ = o.Close()
		})
	}
}
