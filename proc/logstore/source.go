package logstore

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

// source is one file of a log, as long as it was when it was opened.
type source struct {
	file    *os.File
	info    fs.FileInfo
	growing bool // its last line may be half written
	gz      bool
}

// chain opens the files of a log, the newest first. Each is opened before any older
// one, so a file that is renamed meanwhile is met again, never missed.
type chain struct {
	o       Options
	since   time.Time // files last written before it are left out; zero: none
	next    int
	sources []*source
	ended   bool
}

// coarse is how much older than its last line a file may seem: its time is that of
// the kernel's last tick, and on some file systems a whole second.
const coarse = 2 * time.Second

// older opens the next older file; nil: there is none.
func (c *chain) older() (*source, error) {
	for missing := 0; !c.ended && missing < 2 && c.next <= c.o.MaxFiles; c.next++ {
		src, err := openSource(c.o.path(), c.next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing++
			continue
		case err != nil:
			return nil, err
		}
		missing = 0
		known := len(c.sources) > 0 && os.SameFile(src.info, c.sources[len(c.sources)-1].info)
		c.ended = src.info.ModTime().Add(coarse).Before(c.since)
		if known || c.ended {
			_ = src.file.Close()
			continue
		}
		c.sources = append(c.sources, src)
		c.next++
		return src, nil
	}
	c.ended = true
	return nil, nil //nolint:nilnil // the end is no error
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
