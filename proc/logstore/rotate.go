package logstore

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

// rotate renames the full file and opens a new one.
func (s *Store) rotate() error {
	s.names.Lock()
	defer s.names.Unlock()
	if err := segment.Shift(s.o.path(), s.o.MaxFiles); err != nil {
		return err
	}
	err := s.file.Close()
	s.file = nil
	s.compress()
	return errors.Join(err, s.openFile())
}

// slot is held by the one compression that runs: it is slow and can wait, while the
// services cannot.
var slot = make(chan struct{}, 1)

// compress starts the compression of the rotated files, if there is something to do
// and nobody does it. names is held.
func (s *Store) compress() {
	if !s.o.Compress || s.compressing || s.uncompressed() == 0 {
		return
	}
	s.compressing = true
	s.background.Go(func() {
		err := s.compressAll()
		s.names.Lock()
		defer s.names.Unlock()
		s.compressing, s.gzipErr = false, err
	})
}

// compressAll compresses one file after the other until there is none or the store is closed.
func (s *Store) compressAll() error {
	for {
		select {
		case <-s.closing:
			return nil
		case slot <- struct{}{}:
		}
		more, err := s.compressOne()
		<-slot
		if !more || err != nil {
			return err
		}
	}
}

// uncompressed returns the number of the oldest file that is to be compressed, 0: none.
// names is held.
func (s *Store) uncompressed() int {
	for n := s.o.MaxFiles - 1; n >= 2; n-- {
		if _, err := os.Lstat(segment.Name(s.o.path(), n)); err == nil {
			return n
		}
	}
	return 0
}

// gzipTemp is where a compressed file is made; it has no number, since that of its
// source may change meanwhile.
func (s *Store) gzipTemp() string { return s.o.path() + ".tmp" + segment.Gz }

// compressOne compresses the oldest file that is not; more says there may be others.
func (s *Store) compressOne() (more bool, err error) {
	s.names.Lock()
	n := s.uncompressed()
	var source *os.File
	if n > 0 {
		source, err = os.Open(segment.Name(s.o.path(), n))
	}
	s.names.Unlock()
	if source == nil || err != nil {
		return false, err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return false, err
	}
	if err := writeGzip(s.gzipTemp(), source, info); err != nil {
		return false, errors.Join(err, os.Remove(s.gzipTemp()))
	}
	return true, s.replace(info)
}

// writeGzip compresses source to path, with its time and a mark of where it comes from.
func writeGzip(path string, source io.Reader, info fs.FileInfo) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(f, 64<<10)
	z, err := gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	z.Extra = originOf(info)
	_, err = io.Copy(z, source)
	// On the disk before its name is: a crash of the machine must not leave half of it
	// in the place of the whole.
	err = errors.Join(err, z.Close(), buffered.Flush(), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Chtimes(path, info.ModTime(), info.ModTime())
}

// replace puts the compressed file in the place of its source, wherever rotations
// have moved that; if it is gone by now, the compressed one goes too.
func (s *Store) replace(source fs.FileInfo) error {
	s.names.Lock()
	defer s.names.Unlock()
	for n := 1; n < s.o.MaxFiles; n++ {
		path := segment.Name(s.o.path(), n)
		if info, err := os.Lstat(path); err == nil && os.SameFile(info, source) {
			if err := os.Rename(s.gzipTemp(), path+segment.Gz); err != nil {
				return errors.Join(err, os.Remove(s.gzipTemp()))
			}
			return os.Remove(path)
		}
	}
	return os.Remove(s.gzipTemp())
}
