// Package segment is what the log store and the event journal share on disk: a file
// that grows, the numbered files it leaves behind when it is full (base.1 is the newest
// of them), and its lines read from the end.
package segment

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

// Gz ends the name of a compressed file.
const Gz = ".gz"

// Name returns the n-th file behind base; the 0th is base.
func Name(base string, n int) string {
	if n == 0 {
		return base
	}
	return base + "." + strconv.Itoa(n)
}

// Shift moves base to base.1, that to base.2 and so on, compressed or not, up to the
// first free number, and removes what makes more than keep files of it, the next base
// included. It may be called again after an error.
func Shift(base string, keep int) error {
	free := 1
	for exists(Name(base, free)) || exists(Name(base, free)+Gz) {
		free++
	}
	for n := free - 1; n >= 0; n-- {
		for _, end := range []string{"", Gz} {
			if err := move(Name(base, n)+end, Name(base, n+1)+end, n+1 < keep); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prune removes the files behind base that are more than keep, base included.
func Prune(base string, keep int) error {
	for n := keep; ; n++ {
		found := false
		for _, end := range []string{"", Gz} {
			err := os.Remove(Name(base, n) + end)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			found = found || err == nil
		}
		if !found {
			return nil
		}
	}
}

// move renames from, or removes it where it is not to be kept; it may be missing.
func move(from, to string, keep bool) error {
	var err error
	if keep {
		err = os.Rename(from, to)
	} else {
		err = os.Remove(from)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// block is how much LinesBackward reads at a time, at first.
const block = 64 << 10

// Line is a line of a file.
type Line struct {
	Data   []byte // without its newline; valid only during the call
	Offset int64  // of its first byte
	Open   bool   // it has no newline: the last of the file, if that does not end in one
}

// LinesBackward calls fn for the lines in the first size bytes of r, the last one
// first, until fn returns false. It reads no more than that takes.
func LinesBackward(r io.ReaderAt, size int64, fn func(Line) bool) error {
	var rest []byte       // what is read of the line that ends at end
	var held, free []byte // rest is in held
	var breaks []int      // where newlines are in what was read last
	end, pos, open := size, size, true
	for want := int64(block); pos > 0; {
		n := min(want, pos)
		buf := slices.Grow(free[:0], int(n)+len(rest))[:n]
		if _, err := r.ReadAt(buf, pos-n); err != nil {
			return err
		}
		pos -= n
		breaks = appendBreaks(breaks[:0], buf)
		rest = append(buf, rest...)
		held, free = rest, held
		for _, i := range slices.Backward(breaks) {
			begin := pos + int64(i) + 1
			if (!open || begin < end) && !fn(Line{Data: rest[i+1:], Offset: begin, Open: open}) {
				return nil
			}
			rest, end, open = rest[:i], begin-1, false
		}
		if len(breaks) == 0 {
			want *= 2 // a long line: do not copy it over and over
		} else {
			want = block
		}
	}
	if size > 0 {
		fn(Line{Data: rest, Offset: 0, Open: open})
	}
	return nil
}

// appendBreaks appends where the newlines of b are: forward, as bytes looks for them much
// faster than backward.
func appendBreaks(to []int, b []byte) []int {
	for at := 0; ; at++ {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return to
		}
		at += i
		to = append(to, at)
	}
}
