package logstore

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

// source is one file of a log, as long as it was when it was opened.
type source struct {
	file    *os.File
	info    fs.FileInfo
	growing bool // its last line may be half written
	gz      bool
	tail    tail
}

// chain opens the files of a log, the newest first. Rotations meanwhile only raise the
// number of a file, so none is missed; where they have, the chain goes on behind the
// file opened last, wherever that is now and whether it was compressed or not.
type chain struct {
	o       Options
	since   time.Time // files last written before it are left out; zero: none
	next    int       // the number to be opened
	last    int       // the number of the file opened last
	sources []*source
	ended   bool
}

// coarse is how much older than its last line a file may seem: its time is that of
// the kernel's last tick, and on some file systems a whole second.
const coarse = 2 * time.Second

// maxHoles is how many numbers in a row may be missing: one during a rotation, one
// after a crash.
const maxHoles = 2

// older opens the next older file; nil: there is none.
func (c *chain) older() (*source, error) {
	for holes := 0; !c.ended && holes <= maxHoles; {
		src, err := openSource(c.o.path(), c.next)
		if errors.Is(err, fs.ErrNotExist) {
			holes++
			c.next++
			continue
		}
		if err != nil {
			return nil, err
		}
		c.ended = src.info.ModTime().Add(coarse).Before(c.since)
		moved := c.follow()
		if moved || c.ended {
			_ = src.file.Close()
			continue
		}
		c.sources = append(c.sources, src)
		c.last, c.next = c.next, c.next+1
		return src, nil
	}
	c.ended = true
	return nil, nil //nolint:nilnil // the end is no error
}

// follow reports whether rotations have moved the file opened last, and then goes on
// behind it; if it is gone by now, so is what is older.
func (c *chain) follow() (moved bool) {
	if len(c.sources) == 0 || c.lastIs(c.last) {
		return false
	}
	for n := c.last + 1; n <= c.o.MaxFiles; n++ {
		if c.lastIs(n) {
			c.last, c.next, c.ended = n, n+1, false
			return true
		}
	}
	c.ended = true
	return true
}

// lastIs reports whether the n-th file is the one opened last, or made of it.
func (c *chain) lastIs(n int) bool {
	last := c.sources[len(c.sources)-1]
	src, err := openSource(c.o.path(), n)
	if err != nil {
		return false
	}
	defer src.file.Close()
	if src.gz == last.gz {
		return os.SameFile(src.info, last.info)
	}
	info, err := last.file.Stat() // as it is now: it may have grown since
	return err == nil && src.gz && src.origin() == inodeOf(info) && src.info.ModTime().Equal(info.ModTime())
}

// close closes what was opened.
func (c *chain) close() {
	for _, src := range c.sources {
		_ = src.file.Close()
	}
}

// openSource opens the n-th file behind base, compressed or not.
func openSource(base string, n int) (*source, error) {
	src := &source{growing: n == 0}
	var err error
	src.file, err = os.Open(segment.Name(base, n))
	if n > 0 && errors.Is(err, fs.ErrNotExist) {
		src.gz = true
		src.file, err = os.Open(segment.Name(base, n) + segment.Gz)
	}
	if err != nil {
		return nil, err
	}
	if src.info, err = src.file.Stat(); err != nil {
		return nil, errors.Join(err, src.file.Close())
	}
	return src, nil
}

// originTag marks the inode of the file that was compressed in the header of the
// compressed one: a gzip extra field (RFC 1952, 2.3.1.1).
const originTag = "BH\x08\x00"

// originOf returns the extra field for the compressed form of a file.
func originOf(info fs.FileInfo) []byte {
	return binary.LittleEndian.AppendUint64([]byte(originTag), inodeOf(info))
}

// origin returns the inode of the file that s was made of, 0 if it does not say.
func (s *source) origin() uint64 {
	const flags, extraFlag, extra = 3, 4, 12 // RFC 1952, 2.3
	var head [extra + len(originTag) + 8]byte
	if _, err := s.file.ReadAt(head[:], 0); err != nil || head[flags]&extraFlag == 0 {
		return 0
	}
	inode, ok := bytes.CutPrefix(head[extra:], []byte(originTag))
	if !ok {
		return 0
	}
	return binary.LittleEndian.Uint64(inode)
}

func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// lastSeq returns the number of the last LogEntry, 0 if there is none or the file is
// compressed: the newest two never are.
func (s *source) lastSeq() (uint64, error) {
	if s.gz {
		return 0, nil
	}
	var seq uint64
	err := segment.LinesBackward(s.file, s.info.Size(), func(l segment.Line) bool {
		if e, ok := decode(l.Data); ok {
			seq = e.Seq
		}
		return seq == 0
	})
	return seq, err
}

// bisected is the size from which on the beginning of what is wanted is looked for.
const bisected = 4 << 20

// since returns where the entries of a file that is not compressed begin that are not older
// than t, or a little before. It takes them to be in the order of their times.
func (s *source) since(t time.Time) int64 {
	low, high := int64(0), s.info.Size() // what is before low is older
	if s.gz {
		return 0
	}
	t = t.Add(-coarse)
	for high-low > bisected {
		middle := low + (high-low)/2
		at, offset, ok := s.firstTime(middle, high)
		switch {
		case ok && at.Before(t):
			low = offset
		default:
			high = middle
		}
	}
	return low
}

// firstTime returns the time and the place of the first entry that begins behind an offset.
func (s *source) firstTime(from, to int64) (at time.Time, offset int64, ok bool) {
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, from, to-from), 64<<10)
	offset = from
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if !first && err == nil {
			if at, ok := decodeTime(line); ok {
				return at, offset, true
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return time.Time{}, 0, false
		}
		offset += int64(len(line))
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			line, err = r.ReadSlice('\n')
			offset += int64(len(line))
		}
	}
}

// forward calls fn for the lines from offset on (of what a compressed file holds: from
// its beginning), in order, until fn returns false. open marks a last line without a
// newline; line is valid only during the call.
func (s *source) forward(offset int64, fn func(line []byte, open bool) bool) error {
	var r io.Reader = io.NewSectionReader(s.file, offset, s.info.Size()-offset)
	if s.gz {
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		r = z
	}
	buffered := bufio.NewReaderSize(r, 64<<10)
	var long []byte // what is read of a line longer than the buffer
	for {
		line, err := buffered.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		text, ended := bytes.CutSuffix(line, []byte{'\n'})
		if len(line) > 0 && !fn(text, !ended) {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		long = long[:0]
	}
}
