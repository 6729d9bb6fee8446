package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

// style is how text is painted where colour is shown.
type style string

// The styles, as SGR parameters.
const (
	styleNone    style = ""
	styleDim     style = "2"
	styleBold    style = "1"
	styleGood    style = "32"
	styleWorking style = "33"
	styleBad     style = "31"
)

// screen is one output stream and what can be shown on it.
type screen struct {
	io.Writer
	tty    bool // what is printed may be redrawn
	colour bool
	utf8   bool
	size   func() (width, height int) // zero: unlimited
}

// newScreen looks at a stream: colour and redrawing only if it is a terminal,
// other symbols than ASCII only where the locale has them.
func newScreen(w io.Writer, getenv func(string) (string, bool)) *screen {
	env := func(name string) string { v, _ := getenv(name); return v }
	s := &screen{Writer: w, utf8: utf8Locale(env), size: func() (int, int) { return 0, 0 }}
	file, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return s
	}
	dumb := env("TERM") == "dumb"
	s.tty = !dumb
	s.colour = !dumb && env("NO_COLOR") == ""
	s.size = func() (int, int) {
		width, height, err := term.GetSize(int(file.Fd()))
		if err != nil {
			return 0, 0
		}
		if n, err := strconv.Atoi(env("COLUMNS")); err == nil && n > 0 {
			width = n
		}
		return width, height
	}
	return s
}

// utf8Locale follows the order of setlocale(3).
func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// printf prints; a stream that is gone is noticed by the runtime, not here.
func (s *screen) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Writer, format, args...)
}

// paint wraps text in a style where colour is shown.
func (s *screen) paint(st style, text string) string {
	if !s.colour || st == styleNone || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// pick returns the first of two where the locale is UTF-8, else the second.
func (s *screen) pick(utf8, ascii string) string {
	if s.utf8 {
		return utf8
	}
	return ascii
}

// fit cuts a line to the width of the terminal.
func (s *screen) fit(line string) string {
	width, _ := s.size()
	if width <= 0 || ansi.StringWidth(line) <= width {
		return line
	}
	return ansi.Truncate(line, width, s.pick("…", "~"))
}

// wrap breaks plain text into lines that fit on the terminal right of an indent.
func (s *screen) wrap(text string, indent int) []string {
	const narrowest = 20 // what is narrower helps nobody
	width, _ := s.size()
	if width <= 0 {
		return []string{text}
	}
	return strings.Split(ansi.Wrap(text, max(width-indent, narrowest), ""), "\n")
}

// block is a few lines at the end of a terminal that are drawn again and again;
// what is printed between erase and draw scrolls by above them.
type block struct {
	screen *screen
	lines  int
}

// draw replaces the lines shown by others, in one write. Lines that do not fit
// on the terminal are left out at the end.
func (b *block) draw(lines []string) {
	if _, height := b.screen.size(); height > 1 && len(lines) > height-1 {
		lines = lines[:height-1]
	}
	var out bytes.Buffer
	b.rewind(&out)
	for _, line := range lines {
		out.WriteString(b.screen.fit(line))
		out.WriteString("\x1b[K\n")
	}
	out.WriteString("\x1b[J")
	b.lines = len(lines)
	_, _ = b.screen.Write(out.Bytes())
}

// erase removes the lines from the terminal.
func (b *block) erase() {
	if b.lines == 0 {
		return
	}
	var out bytes.Buffer
	b.rewind(&out)
	out.WriteString("\x1b[J")
	b.lines = 0
	_, _ = b.screen.Write(out.Bytes())
}

func (b *block) rewind(out *bytes.Buffer) {
	if b.lines > 0 {
		fmt.Fprintf(out, "\x1b[%dA\r", b.lines)
	}
}
