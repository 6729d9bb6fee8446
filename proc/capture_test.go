package proc

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// feed has a cutter read s in pieces of the given sizes, the last one used on.
func feed(s string, sizes ...int) []Line { return feedTo(&cutter{}, s, sizes...) }

func feedTo(c *cutter, s string, sizes ...int) []Line {
	var all []Line
	keep := func(lines []Line) {
		for _, l := range lines {
			l.Data = bytes.Clone(l.Data)
			all = append(all, l)
		}
	}
	for r := strings.NewReader(s); r.Len() > 0; {
		size := sizes[0]
		if len(sizes) > 1 {
			sizes = sizes[1:]
		}
		space := c.space()
		n, _ := r.Read(space[:min(size, len(space))])
		keep(c.wrote(n))
	}
	keep(c.rest())
	return all
}

func TestCutter(t *testing.T) {
	line := func(s string) Line { return Line{Data: []byte(s)} }
	last := func(s string) Line { return Line{Data: []byte(s), NoNewline: true} }
	mib := strings.Repeat("x", lineMost)
	part := Line{Data: []byte(mib), Partial: true}
	for _, tc := range []struct {
		name, in string
		want     []Line
	}{
		{"nothing", "", nil},
		{"lines", "a\n\nb\r\n", []Line{line("a"), line(""), line("b\r")}},
		{"last without newline", "a\nb", []Line{line("a"), last("b")}},
		{"any bytes", "\x00\xff\n", []Line{line("\x00\xff")}},
		{"one MiB", mib + "\nb\n", []Line{line(mib), line("b")}},
		{"one MiB at the end", mib, []Line{last(mib)}},
		{"one byte more", mib + "y\nb\n", []Line{part, line("y"), line("b")}},
		{"two MiB and more", mib + mib + "y", []Line{part, part, last("y")}},
		{"two MiB", mib + mib + "\n", []Line{part, line(mib)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, size := range []int{readBlock, 1000} {
				if diff := cmp.Diff(texts(tc.want), texts(feed(tc.in, size))); diff != "" {
					t.Errorf("in pieces of %d (-want +got): %.300s", size, diff)
				}
			}
		})
	}
}

// texts makes lines fit for a comparison that does not go byte by byte.
func texts(lines []Line) []string {
	var all []string
	for _, l := range lines {
		all = append(all, fmt.Sprintf("%t %t %s", l.Partial, l.NoNewline, l.Data))
	}
	return all
}

func TestCutterLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.SampledFrom([]string{"\n", "a", "bc\n", "\n\n", strings.Repeat("z", 70_000), strings.Repeat("q", 600_000)}))
		in := strings.Join(words.Draw(t, "in"), "")
		sizes := rapid.SliceOfN(rapid.IntRange(1, readBlock), 1, 20).Draw(t, "sizes")
		sizes = append(sizes, readBlock)
		var out strings.Builder
		lines := feed(in, sizes...)
		for i, l := range lines {
			out.Write(l.Data)
			if !l.Partial && !l.NoNewline {
				out.WriteByte('\n')
			}
			if len(l.Data) > lineMost || l.Partial && len(l.Data) != lineMost {
				t.Fatalf("a part of %d bytes", len(l.Data))
			}
			if bytes.IndexByte(l.Data, '\n') >= 0 || l.NoNewline && i != len(lines)-1 {
				t.Fatalf("line %d of %d: %.100q", i, len(lines), l.Data)
			}
		}
		if out.String() != in {
			t.Fatalf("got %d bytes, want %d", out.Len(), len(in))
		}
	})
}

func TestJoinedLinesAreTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.SampledFrom([]string{"\n", "a", "bc\n", "\n\n", strings.Repeat("z", 70_000), strings.Repeat("q", 600_000)}))
		in := strings.Join(words.Draw(t, "in"), "")
		sizes := rapid.SliceOfN(rapid.IntRange(1, readBlock), 1, 20).Draw(t, "sizes")
		var out strings.Builder
		lines := 0
		for _, l := range feedTo(&cutter{joined: true}, in, append(sizes, readBlock)...) {
			out.Write(l.Data)
			if got := bytes.Count(l.Data, []byte{'\n'}); got != l.Joined {
				t.Fatalf("%d newlines in it, it says %d", got, l.Joined)
			}
			lines += l.Joined
			if !l.Partial && !l.NoNewline {
				out.WriteByte('\n')
				lines++
			}
		}
		if out.String() != in || lines != strings.Count(in, "\n") {
			t.Fatalf("got %d bytes and %d lines, want %d and %d", out.Len(), lines, len(in), strings.Count(in, "\n"))
		}
	})
}

func TestCutterGivesMemoryBack(t *testing.T) {
	var c cutter
	for range 200 {
		clear(c.space())
		c.wrote(readBlock)
	}
	c.buf[len(c.buf)-1] = '\n'
	c.sought = c.done
	c.wrote(0)
	c.space()
	if got := cap(c.buf); got > 2*readBlock {
		t.Errorf("keeps %d bytes", got)
	}
}

func TestCaptureReadsToTheEnd(t *testing.T) {
	h := newHost(t)
	s := &ServiceSpec{Name: "svc", Command: []string{"seq", "200000"}}
	p := start(t, h, s)
	n, began := 0, time.Now()
	Capture(p.Stdout(), func(at time.Time, lines []Line) {
		if at.Before(began) {
			t.Errorf("read at %v, before it began", at)
		}
		for _, l := range lines {
			n++
			if want := strconv.Itoa(n); string(l.Data) != want || l.Partial || l.NoNewline {
				t.Fatalf("line %d is %q", n, l.Data)
			}
		}
	})
	if n != 200000 {
		t.Errorf("%d lines", n)
	}
}

func TestCaptureEndsWithItsDeadline(t *testing.T) {
	r, w := newPipe(t, startPoller(t))
	if _, err := io.WriteString(w, "one\ntw"); err != nil {
		t.Fatal(err)
	}
	var got []Line
	Capture(r, func(_ time.Time, lines []Line) {
		for _, l := range lines {
			got = append(got, Line{Data: bytes.Clone(l.Data), Partial: l.Partial, NoNewline: l.NoNewline, Joined: l.Joined})
		}
		_ = r.SetReadDeadline(time.Now())
	})
	want := []Line{{Data: []byte("one")}, {Data: []byte("tw"), NoNewline: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkCapture(b *testing.B) {
	for name, size := range map[string]int{"line": 100, "block": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			r, w := newPipe(b, startPoller(b))
			data := bytes.Repeat(append(bytes.Repeat([]byte("x"), 99), '\n'), (size+99)/100)
			go func() {
				for b.Loop() {
					if _, err := w.Write(data); err != nil {
						b.Error(err)
					}
				}
				_ = w.Close()
			}()
			b.SetBytes(int64(len(data)))
			lines := 0
			Capture(r, func(_ time.Time, l []Line) { lines += len(l) })
			b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// TestWhatIsNoPromptIsNotTorn: the end of a full buffer, and JSON, are whole when the rest has come.
func TestWhatIsNoPromptIsNotTorn(t *testing.T) {
	line := strings.Repeat("x", 1500)
	for _, tc := range []struct {
		name string
		say  []string
		open time.Duration
	}{
		{"a prompt", []string{"password: "}, lineWait},
		{"a full buffer", []string{(line + "\n" + line + "\n" + line)[:4096]}, 0},
		{"two", []string{(line + "\n" + line)[:2048], line[:1024]}, 0},
		{"a prompt behind one", []string{(line + "\n" + line)[:2048], "\nok? "}, lineWait},
		{"JSON", []string{"{\"level\":\""}, 0},
		{"JSON behind a line", []string{"ready\n{\"level\":\""}, 0},
		{"a line", []string{"ready\n"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c cutter
			for _, s := range tc.say {
				c.wrote(copy(c.space(), s))
			}
			if got := c.patience(); got != tc.open {
				t.Errorf("it is waited %v, want %v", got, tc.open)
			}
		})
	}
}

// TestALineThatDoesNotGoOnIsShown says half a line and waits, then the rest, and ends amid another.
func TestALineThatDoesNotGoOnIsShown(t *testing.T) {
	for name, start := range map[string]func(o *Output, deliver Deliver){
		"plain": func(o *Output, d Deliver) { Capture(o, func(at time.Time, lines []Line) { d(at, lines, 0) }) },
		"joined": func(o *Output, d Deliver) {
			c := cutter{joined: true}
			c.capture(o, func(at time.Time, l []Line) { d(at, l, 0) })
		},
		"safe": func(o *Output, d Deliver) {
			in, err := openIntake(t.TempDir(), "it")
			must(t, err)
			CaptureSafe(o, in, "stdout", false, d)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w := pipe(t)
			got := make(chan Line, 16)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				start(r, func(_ time.Time, lines []Line, _ uint64) bool {
					for _, l := range lines {
						l.Data = bytes.Clone(l.Data)
						got <- l
					}
					return false
				})
			}()
			for _, step := range []struct {
				say  string
				want Line
			}{
				{"pass", Line{Data: []byte("pass"), Partial: true}},
				{"word: ", Line{Data: []byte("word: "), Partial: true}},
				{"\n", Line{Data: []byte{}}},
				{"bye", Line{Data: []byte("bye"), Partial: true}},
				{"", Line{Data: []byte{}, NoNewline: true}},
			} {
				if step.say == "" {
					_ = w.Close()
				} else if _, err := w.WriteString(step.say); err != nil {
					t.Fatal(err)
				}
				select {
				case l := <-got:
					if diff := cmp.Diff(step.want, l, cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("after %q: -want +got\n%s", step.say, diff)
					}
				case <-time.After(patience):
					t.Fatalf("after %q nothing came", step.say)
				}
			}
			<-ended
		})
	}
}
