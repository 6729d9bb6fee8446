package logstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

// Options say where a service's log is and how it is kept. Two stores must not share
// a directory and a service.
type Options struct {
	Dir, Service string
	Raw          bool     // the bytes as written, instead of one LogEntry a line
	MaxSize      int64    // bytes after which a file is rotated, at least 1; a batch is never split
	MaxFiles     int      // how many files are kept, the growing one included, at least 1
	Compress     bool     // all but the newest rotated file
	Keeper       Keeper   // nil: nobody
	Listing      *Listing // of Dir, just now; nil: not known
}

// Keeper knows what is in a log and what is not, however bhnode ends. Files are known by
// their inodes.
type Keeper interface {
	// At is told where the next line goes.
	At(file uint64, size int64)
	// Landed is told that all lines up to number seq are in the file, which has that size
	// now, and where the stream of the last of them stands behind it.
	Landed(file uint64, size int64, seq uint64, stream string, upTo uint64)
	// Where returns what it was told last, in an earlier life too.
	Where() (file uint64, size int64, seq uint64, known bool)
}

const (
	logSuffix = ".log"
	seqSuffix = ".seq"
)

// path returns the file that grows.
func (o *Options) path() string { return filepath.Join(o.Dir, o.Service+logSuffix) }

// seqPath returns the file that keeps the last number of a raw log.
func (o *Options) seqPath() string { return filepath.Join(o.Dir, o.Service+seqSuffix) }

// Store appends to one service's log. Its methods may be called from any goroutine.
type Store struct {
	o Options

	mu      sync.Mutex
	file    *os.File // nil: to be opened by the next Append
	inode   uint64
	size    int64
	torn    bool // an unfinished line could not be cut off; the next batch ends it
	seq     uint64
	seqFile *os.File // raw only, with file
	closed  bool

	// names guards the names of the rotated files, not those of the growing one. It is
	// taken after mu.
	names       sync.Mutex
	compressing bool
	gzipErr     error
	closing     chan struct{}
	background  sync.WaitGroup
}

// Open finds the number of the last line of a service's log, and that its next one can be
// written. Files are opened, or made, with the first line: most services of a node are silent,
// and what a process has open is copied and closed at each fork and exec. A line that a crash
// left unfinished is ended, not lost.
func Open(o Options) (*Store, error) {
	if o.MaxSize < 1 || o.MaxFiles < 1 {
		return nil, fmt.Errorf("cannot keep %d files of %d bytes", o.MaxFiles, o.MaxSize)
	}
	s := &Store{o: o, closing: make(chan struct{})}
	s.o.Listing = nil // it grows old
	if o.Listing.lacks(o.Service) {
		return s, nil
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the log of %s: %w", o.Service, err), s.closeFiles())
	}
	s.names.Lock()
	defer s.names.Unlock()
	s.clearUp()
	s.compress()
	return s, nil
}

// open finds the last number, and whether there can be more.
func (s *Store) open() error {
	kept, err := s.cutOff()
	if err != nil {
		return err
	}
	if err := s.tryFile(); err != nil {
		return err
	}
	seq, err := lastSeq(s.o)
	if err != nil {
		return err
	}
	if kept > 0 { // the number is written before the line
		seq = kept
	}
	s.seq = seq
	return nil
}

// tryFile finds whether the files can be opened, or made.
func (s *Store) tryFile() error {
	if _, err := os.Lstat(s.o.path()); err == nil {
		return errors.Join(s.openFile(), s.closeFiles())
	}
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return err
	}
	if err := unix.Access(s.o.Dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "create", Path: s.o.path(), Err: err}
	}
	return nil
}

// cutOff cuts off what a bhnode that was killed has written and its Keeper does not know
// of: that comes again. It returns the number of the last line, 0 if it is not known.
func (s *Store) cutOff() (uint64, error) {
	if s.o.Keeper == nil {
		return 0, nil
	}
	file, size, seq, known := s.o.Keeper.Where()
	if !known {
		return 0, nil
	}
	info, err := os.Stat(s.o.path())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil || inodeOf(info) != file || info.Size() < size {
		return 0, err
	}
	return seq, os.Truncate(s.o.path(), size)
}

// openFile opens the file that grows. In the format json it ends an unfinished line.
func (s *Store) openFile() error {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return err
	}
	if s.o.Raw && s.seqFile == nil {
		var err error
		if s.seqFile, err = os.OpenFile(s.o.seqPath(), os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
			return err
		}
	}
	// Read too: the last byte says whether the last line is finished.
	f, err := os.OpenFile(s.o.path(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.inode, s.size, s.torn = f, inodeOf(info), info.Size(), false
	if s.o.Keeper != nil {
		s.o.Keeper.At(s.inode, s.size)
	}
	if s.size > 0 && !s.o.Raw {
		var last [1]byte
		if _, err := f.ReadAt(last[:], s.size-1); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		s.torn = last[0] != '\n'
	}
	return nil
}

// LastSeq returns the number of the last line appended, by an earlier Store too.
func (s *Store) LastSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// Append writes entries at once, in one file; in the format json it parses those that
// nobody did. After an error none of them is kept, the
// numbers are as if they were, and the next Append tries again whatever failed.
func (s *Store) Append(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	buf := buffers.Get().(*[]byte)
	*buf = s.encode((*buf)[:0], entries)
	s.mu.Lock()
	last := &entries[len(entries)-1]
	err := s.append(*buf, last.Seq)
	if err == nil && s.o.Keeper != nil {
		s.o.Keeper.Landed(s.inode, s.size, last.Seq, last.Stream, last.UpTo)
	}
	s.mu.Unlock()
	if cap(*buf) <= maxPooled {
		buffers.Put(buf)
	}
	if err != nil {
		return fmt.Errorf("cannot write the log of %s: %w", s.o.Service, err)
	}
	return nil
}

// maxPooled is the size of the largest buffer that is kept.
const maxPooled = 1 << 20

// buffers are shared by all stores: most of them are idle.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// encode appends entries as they are written.
func (s *Store) encode(dst []byte, entries []Entry) []byte {
	if s.o.Raw {
		return appendRaw(dst, entries)
	}
	head, headEnd := 0, 0 // of the entry before
	for i := range entries {
		e := &entries[i]
		begin := len(dst)
		if i > 0 && sameHead(e, &entries[i-1]) {
			dst = append(dst, dst[head:headEnd]...)
		} else {
			dst = appendHead(dst, e)
		}
		head, headEnd = begin, len(dst)
		dst = append(appendBody(dst, e), '\n')
	}
	return dst
}

// appendRaw appends the lines of entries as they came.
func appendRaw(dst []byte, entries []Entry) []byte {
	for i := range entries {
		e := &entries[i]
		dst = append(dst, e.Line...)
		if !e.Partial && !e.NoNewline {
			dst = append(dst, '\n')
		}
	}
	return dst
}

// append writes b, whose last line is the seq-th.
func (s *Store) append(b []byte, seq uint64) error {
	if s.closed {
		return os.ErrClosed
	}
	s.seq = max(s.seq, seq)
	if s.file == nil {
		if err := s.openFile(); err != nil {
			return err
		}
	}
	if s.size > 0 && s.size+int64(len(b)) > s.o.MaxSize {
		if err := s.rotate(); err != nil && !s.mayGoOn() {
			return err
		}
	}
	// The number first: a crash between the two leaves a gap, never a number twice.
	if s.seqFile != nil {
		if err := writeSeq(s.seqFile, s.seq); err != nil {
			return err
		}
	}
	return s.write(b)
}

// mayGoOn tells whether the file that could not be rotated can be written to all the same:
// in a directory that is read-only now it grows beyond its size rather than that a line is
// lost.
func (s *Store) mayGoOn() bool {
	if s.file == nil {
		return false
	}
	info, err := os.Lstat(s.o.path())
	return err == nil && inodeOf(info) == s.inode
}

// write appends b to the file, all of it or nothing.
func (s *Store) write(b []byte) error {
	if s.torn {
		if _, err := s.file.Write([]byte{'\n'}); err != nil {
			return err
		}
		s.size++
		s.torn = false
	}
	n, err := s.file.Write(b)
	if err == nil {
		s.size += int64(n)
		return nil
	}
	if n > 0 {
		if terr := s.file.Truncate(s.size); terr != nil {
			s.size += int64(n)
			s.torn = !s.o.Raw
			return errors.Join(err, terr)
		}
	}
	return err
}

// Close ends the store. It waits for a compression that runs; what else is to be
// compressed is left to the next Open. A second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.closing)
	err := s.closeFiles()
	s.mu.Unlock()
	s.background.Wait()
	return errors.Join(err, s.gzipErr)
}

func (s *Store) closeFiles() error {
	var errs []error
	for _, f := range []*os.File{s.file, s.seqFile} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	s.file, s.seqFile = nil, nil
	return errors.Join(errs...)
}

// clearUp removes what a crash or a smaller MaxFiles left over. What it cannot remove
// does no harm.
func (s *Store) clearUp() {
	_ = os.Remove(s.gzipTemp())
	_ = segment.Prune(s.o.path(), s.o.MaxFiles)
	for n := 1; n < s.o.MaxFiles; n++ {
		plain := segment.Name(s.o.path(), n)
		if _, err := os.Lstat(plain); err == nil {
			_ = os.Remove(plain + segment.Gz)
		}
	}
}
