package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

// Options say when the journal is rotated and how many files it has.
type Options struct {
	MaxSize  int64 // bytes, at least 1
	MaxFiles int   // the growing one included, at least 1
}

// Journal appends records to a file. Its methods may be called from any goroutine.
type Journal struct {
	path string
	o    Options

	mu     sync.Mutex
	file   *os.File // nil: to be opened by the next Append
	size   int64
	last   atomic.Uint64 // the number of the last record
	closed bool
}

// Open opens the journal at path, makes what is missing, cuts off a line that a crash
// left unfinished, and finds the number of the last record.
func Open(path string, o Options) (*Journal, error) {
	if o.MaxSize < 1 || o.MaxFiles < 1 {
		return nil, fmt.Errorf("cannot keep %d files of %d bytes", o.MaxFiles, o.MaxSize)
	}
	j := &Journal{path: path, o: o}
	err := j.open()
	if err == nil {
		err = segment.Prune(path, o.MaxFiles)
	}
	if err == nil {
		err = j.backward(func(r Record) bool {
			j.last.Store(r.Seq)
			return false
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the journal: %w", err), j.closeFile())
	}
	return j, nil
}

// open opens the file that grows.
func (j *Journal) open() error {
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := cutOff(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.size = f, size
	return nil
}

// cutOff removes a last line without its newline and returns the size of f.
func cutOff(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	err = segment.LinesBackward(f, size, func(l segment.Line) bool {
		if l.Open {
			size = l.Offset
		}
		return false
	})
	if err != nil || size == info.Size() {
		return size, err
	}
	return size, f.Truncate(size)
}

// LastSeq returns the number of the last record appended, by an earlier Journal too. It
// does not wait for a write that is under way.
func (j *Journal) LastSeq() uint64 {
	return j.last.Load()
}

// Append writes records at once, in one file. After an error none of them is kept, and
// the next Append tries again whatever failed.
func (j *Journal) Append(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	var b []byte
	for i := range records {
		var err error
		if b, err = records[i].append(b); err != nil {
			return fmt.Errorf("cannot write event %d: %w", records[i].Seq, err)
		}
		b = append(b, '\n')
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(b); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	j.last.Store(records[len(records)-1].Seq)
	return nil
}

// write appends b to the file, all of it or nothing, after a rotation if it is full.
func (j *Journal) write(b []byte) error {
	if j.closed {
		return os.ErrClosed
	}
	if j.file != nil && j.size > 0 && j.size+int64(len(b)) > j.o.MaxSize {
		if err := segment.Shift(j.path, j.o.MaxFiles); err != nil {
			return err
		}
		if err := j.closeFile(); err != nil {
			return err
		}
	}
	if j.file == nil {
		if err := j.open(); err != nil {
			return err
		}
	}
	n, err := j.file.Write(b)
	if err == nil {
		j.size += int64(n)
		return nil
	}
	if terr := j.file.Truncate(j.size); terr != nil {
		// What could not be cut off now is when the file is opened again.
		return errors.Join(err, terr, j.closeFile())
	}
	return err
}

// closeFile closes the file that grows; the next Append opens what is at its path.
func (j *Journal) closeFile() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// Tail returns the last n records, the oldest first. Lines that are no records are left out.
func (j *Journal) Tail(n int) ([]Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n <= 0 {
		return nil, nil
	}
	var records []Record
	err := j.backward(func(r Record) bool {
		records = append(records, r)
		return len(records) < n
	})
	slices.Reverse(records)
	if err != nil {
		return records, fmt.Errorf("cannot read the journal: %w", err)
	}
	return records, nil
}

// backward calls fn for the records on disk, the last one first, until it returns false.
func (j *Journal) backward(fn func(Record) bool) error {
	for n := range j.o.MaxFiles {
		goOn, err := backward(segment.Name(j.path, n), fn)
		if !goOn || err != nil {
			return err
		}
	}
	return nil
}

// backward does so for one file, which may be missing.
func backward(path string, fn func(Record) bool) (goOn bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	goOn = true
	err = segment.LinesBackward(f, info.Size(), func(l segment.Line) bool {
		var r Record
		if json.Unmarshal(l.Data, &r) == nil && r.Seq > 0 {
			goOn = fn(r)
		}
		return goOn
	})
	return goOn, err
}

// Close ends the journal; a second call does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	return j.closeFile()
}
