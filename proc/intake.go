package proc

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Intake holds what was read from the output of one service and is not in its log yet,
// so that a bhnode that is killed between the two loses nothing and writes nothing twice.
//
// It is a file that is mapped into memory, made with the first output: what is read is
// read into it. Before each read it is marked where to and how many bytes, and the room is
// filled with a pattern; so the next bhnode sees whether that read came to pass. What is
// written to the log is marked with the size that the log has then, in one step, so the
// next bhnode can cut off a write that came to half a pass. A mark is written beside the
// one that counts, and then made to count by one store.
type Intake struct {
	path string

	mu      sync.Mutex
	mapped  []byte // nil: not made yet
	now     mark
	room    [4]int // bytes of each half that the disk has room for
	pattern []byte
	broken  bool
}

// mark is what is known at one moment. All is kept as 64-bit words.
type mark struct {
	LogFile, LogSize, Seq uint64 // inode and size of the log, and the number of its last line
	Streams               [2]streamMark
}

// streamMark is where one stream is. Positions count the bytes of the stream.
type streamMark struct {
	Half       uint64 // which of its two halves is in use
	Base       uint64 // the position of the first byte in it
	Start, End uint64 // what is between them was read and is not in the log
	Pending    uint64 // bytes of a read under way, which begin at End
}

const (
	intakeMagic  = uint64(0x31656b61746e6962) // "bintake1"
	intakeHead   = 4096
	intakeHalf   = lineMost + 2*readBlock
	intakeSize   = intakeHead + 4*intakeHalf
	markAt       = 256 // two of them, one after the other
	markRoom     = 512
	patternAt    = 64
	patternBytes = 16
	intakePage   = 4096
)

// openIntake finds what an earlier bhnode has left of a service's output. One that makes
// no sense is set aside.
func openIntake(dir, service string) (*Intake, error) {
	in := &Intake{path: filepath.Join(dir, service)}
	info, err := os.Stat(in.path)
	if errors.Is(err, os.ErrNotExist) {
		return in, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() != intakeSize {
		return in, os.Rename(in.path, in.path+".corrupt")
	}
	if err := in.mapIt(os.O_RDWR); err != nil {
		return nil, err
	}
	if *in.word(8) != intakeMagic {
		err := errors.Join(in.unmap(), os.Rename(in.path, in.path+".corrupt"))
		return &Intake{path: in.path}, err
	}
	copy(in.pattern, in.mapped[patternAt:])
	in.now = *in.markNo(atomic.LoadUint64(in.word(0)))
	if !in.now.sane() {
		err := errors.Join(in.unmap(), os.Rename(in.path, in.path+".corrupt"))
		return &Intake{path: in.path}, err
	}
	for i := range in.room {
		in.room[i] = intakePage // asked for again, which changes nothing
	}
	for i := range in.now.Streams {
		in.resolve(i)
	}
	return in, nil
}

func (m *mark) sane() bool {
	for _, s := range m.Streams {
		if s.Half > 1 || s.Base > s.Start || s.Start > s.End || s.End-s.Base > intakeHalf || s.Pending > intakeHalf-(s.End-s.Base) {
			return false
		}
	}
	return true
}

func (in *Intake) mapIt(flags int) error {
	f, err := os.OpenFile(in.path, flags, 0o600)
	if err != nil {
		return err
	}
	fd := int(f.Fd())
	if err := errors.Join(f.Truncate(intakeSize), unix.Fallocate(fd, 0, 0, intakeHead)); err != nil {
		return errors.Join(err, f.Close())
	}
	mapped, err := unix.Mmap(fd, 0, intakeSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return errors.Join(os.NewSyscallError("mmap", err), f.Close())
	}
	in.mapped, in.pattern = mapped, make([]byte, patternBytes)
	return f.Close()
}

// made tells whether there is a file.
func (in *Intake) made() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.mapped != nil
}

// ensure makes the file.
func (in *Intake) ensure() error {
	switch {
	case in.broken:
		return errors.New("it was given up")
	case in.mapped != nil:
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(in.path), 0o700); err != nil {
		return err
	}
	if err := in.mapIt(os.O_RDWR | os.O_CREATE | os.O_TRUNC); err != nil {
		return fmt.Errorf("cannot keep output safe until it is logged: %w", err)
	}
	_, _ = rand.Read(in.pattern) // never fails
	copy(in.mapped[patternAt:], in.pattern)
	*in.markNo(0) = in.now
	atomic.StoreUint64(in.word(0), 0)
	*in.word(8) = intakeMagic
	return nil
}

func (in *Intake) word(at int) *uint64 { return (*uint64)(unsafe.Pointer(&in.mapped[at])) } //nolint:gosec // aligned

func (in *Intake) markNo(n uint64) *mark {
	return (*mark)(unsafe.Pointer(&in.mapped[markAt+int(n&1)*markRoom])) //nolint:gosec // aligned
}

// change makes another mark count.
func (in *Intake) change(to func(*mark)) {
	to(&in.now)
	if in.mapped == nil {
		return
	}
	next := 1 - atomic.LoadUint64(in.word(0))&1
	*in.markNo(next) = in.now
	atomic.StoreUint64(in.word(0), next)
}

// half is the memory of one half of a stream.
func (in *Intake) half(stream int, half uint64) []byte {
	at := intakeHead + (2*stream+int(half&1))*intakeHalf
	return in.mapped[at : at+intakeHalf : at+intakeHalf]
}

// makeRoom has the disk give room for the first bytes of a half: memory that is mapped and
// that the disk has no room for ends the process that touches it.
func (in *Intake) makeRoom(stream int, half uint64, upTo int) error {
	n := 2*stream + int(half&1)
	if upTo <= in.room[n] {
		return nil
	}
	upTo = (upTo + intakePage - 1) &^ (intakePage - 1)
	at := intakeHead + n*intakeHalf
	f, err := os.OpenFile(in.path, os.O_RDWR, 0) // it is not kept open: there may be a thousand
	if err != nil {
		return err
	}
	err = os.NewSyscallError("fallocate", unix.Fallocate(int(f.Fd()), 0, int64(at), int64(upTo)))
	if err == nil {
		in.room[n] = upTo
	}
	return errors.Join(err, f.Close())
}

// fill writes the pattern where a read will begin and end, and at the pages between.
func (in *Intake) fill(to []byte) {
	for at := 0; at < len(to); at += intakePage {
		copy(to[at:], in.pattern)
	}
	if len(to) > patternBytes {
		copy(to[len(to)-patternBytes:], in.pattern)
	}
}

// resolve finds out what became of the read that was under way.
func (in *Intake) resolve(stream int) {
	s := in.now.Streams[stream]
	if s.Pending == 0 {
		return
	}
	at := s.End - s.Base
	to := in.half(stream, s.Half)[at : at+s.Pending]
	got := 0
	for got < len(to) && !bytes.HasPrefix(to[got:], in.pattern[:min(patternBytes, len(to)-got)]) {
		got = min(got+intakePage, len(to))
	}
	in.change(func(m *mark) {
		m.Streams[stream].End += uint64(got) //nolint:gosec // not negative
		m.Streams[stream].Pending = 0
	})
}

// At is told where the log is, before anything is written there: its inode, its size.
func (in *Intake) At(file uint64, size int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.change(func(m *mark) { m.LogFile, m.LogSize = file, uint64(size) }) //nolint:gosec // not negative
}

// Landed is told that lines up to number seq are in the log, which has that size now, and
// that all of a stream up to a position is among them.
func (in *Intake) Landed(file uint64, size int64, seq uint64, stream string, upTo uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.change(func(m *mark) {
		m.LogFile, m.LogSize, m.Seq = file, uint64(size), seq //nolint:gosec // not negative
		s := &m.Streams[streamNo(stream)]
		s.Start = min(max(s.Start, upTo), s.End)
	})
}

// Where returns what is known to be in the log: its inode, its size, and the number of its
// last line. false: nothing is known.
func (in *Intake) Where() (file uint64, size int64, seq uint64, known bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.now.LogFile, int64(in.now.LogSize), in.now.Seq, in.mapped != nil && in.now.LogFile != 0 //nolint:gosec // as it was told
}

func streamNo(stream string) int {
	if stream == "stderr" {
		return 1
	}
	return 0
}

// discard ends it in order: all that was read is in the log. Its memory stays mapped, as
// somebody may still be about to read into it.
func (in *Intake) discard() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.broken = true
	if in.mapped == nil {
		return nil
	}
	for _, s := range in.now.Streams {
		if s.Start != s.End {
			return nil
		}
	}
	return os.Remove(in.path)
}

// unmap gives up a file that makes no sense.
func (in *Intake) unmap() error {
	err := unix.Munmap(in.mapped)
	in.mapped = nil
	return err
}
