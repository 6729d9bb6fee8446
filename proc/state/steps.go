package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Steps are what a node has decided, one after the other, since its base. They are in
// a file that is mapped into memory: a step costs a copy and no system call, and what was
// appended is there however bhnode ends. A base begins a new generation; the steps of
// the one before are removed once it is written.
//
// A file of steps holds records of length, checksum and payload, up to the first length
// of zero. The length is written last: a record is there whole or not at all.
type Steps struct {
	dir        string
	generation uint64
	file       *os.File
	mapped     []byte
	end        int
}

const (
	basePrefix  = "base."
	stepsPrefix = "steps."
	stepHead    = 8
	stepsSize   = 256 << 10 // at first, and doubled when full
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// written is called after each write of state, by tests.
var written = func() {}

// Begin forgets what earlier lives decided and begins with a base.
func (s *Store) Begin(base []byte) (*Steps, error) {
	st := &Steps{dir: s.dir, generation: 1}
	for _, g := range st.generations(basePrefix, stepsPrefix) {
		st.generation = max(st.generation, g+1)
	}
	finish, err := st.Turn()
	if err == nil {
		err = finish(base)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot keep what the node decides: %w", err), st.Close())
	}
	return st, nil
}

// Turn begins a new generation: what is appended from here on comes after the base that
// finish writes, which may run beside. If finish fails, or is never called, the base
// before is still good.
func (st *Steps) Turn() (finish func(base []byte) error, err error) {
	next := &Steps{dir: st.dir, generation: st.generation + 1}
	if err := next.open(); err != nil {
		return nil, err
	}
	err = st.unmap()
	*st = *next
	generation := st.generation
	return func(base []byte) error {
		path := filepath.Join(next.dir, basePrefix+strconv.FormatUint(generation, 10))
		if err := write(path+temporary, base, false); err != nil {
			return err
		}
		if err := os.Rename(path+temporary, path); err != nil {
			return err
		}
		written()
		return (&Steps{dir: next.dir}).removeBefore(generation)
	}, err
}

func (st *Steps) open() error {
	f, err := os.OpenFile(st.path(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	st.file = f
	return st.grow(stepsSize)
}

func (st *Steps) path() string {
	return filepath.Join(st.dir, stepsPrefix+strconv.FormatUint(st.generation, 10))
}

// grow makes room. The room is taken at once: memory that is mapped and that the disk has
// no room for ends the process that touches it.
func (st *Steps) grow(size int) error {
	fd := int(st.file.Fd())
	if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil {
		return os.NewSyscallError("fallocate", err)
	}
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	old := st.mapped
	st.mapped = m
	if old == nil {
		return nil
	}
	return os.NewSyscallError("munmap", unix.Munmap(old))
}

// Append adds one step. After an error it is not there, and nothing may be done that
// it decides.
func (st *Steps) Append(step []byte) error {
	need := st.end + stepHead + (len(step)+3)&^3 + stepHead
	if need > len(st.mapped) {
		size := len(st.mapped)
		for size < need {
			size *= 2
		}
		if err := st.grow(size); err != nil {
			return fmt.Errorf("cannot keep what the node decides: %w", err)
		}
	}
	at := st.mapped[st.end:]
	copy(at[stepHead:], step)
	binary.NativeEndian.PutUint32(at[4:], crc32.Checksum(step, castagnoli))
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&at[0])), uint32(len(step))) //nolint:gosec // aligned: all lengths are rounded up
	st.end += stepHead + (len(step)+3)&^3
	written()
	return nil
}

// Size returns how many bytes of steps there are since the base.
func (st *Steps) Size() int { return st.end }

// Close ends the writing; the steps stay.
func (st *Steps) Close() error { return st.unmap() }

func (st *Steps) unmap() error {
	var errs []error
	if st.mapped != nil {
		errs = append(errs, unix.Munmap(st.mapped))
	}
	if st.file != nil {
		errs = append(errs, st.file.Close())
	}
	st.mapped, st.file = nil, nil
	return errors.Join(errs...)
}

// removeBefore removes all generations before that one, bases first: steps without a
// base say nothing.
func (st *Steps) removeBefore(generation uint64) error {
	var errs []error
	for _, prefix := range []string{basePrefix, stepsPrefix} {
		for _, g := range st.generations(prefix) {
			if g < generation {
				errs = append(errs, os.Remove(filepath.Join(st.dir, prefix+strconv.FormatUint(g, 10))))
				written()
			}
		}
	}
	return errors.Join(errs...)
}

// generations lists the numbers of the files with one of the prefixes.
func (st *Steps) generations(prefixes ...string) (list []uint64) {
	entries, _ := os.ReadDir(st.dir) // what is not there is not removed
	for _, e := range entries {
		for _, prefix := range prefixes {
			text, ok := strings.CutPrefix(e.Name(), prefix)
			if g, err := strconv.ParseUint(text, 10, 64); ok && err == nil {
				list = append(list, g)
			}
		}
	}
	return list
}

// Recall returns the newest base that was written, nil if there is none, and all steps
// since. The error says that they are damaged, and they are set aside then.
func (s *Store) Recall() (base []byte, steps [][]byte, err error) {
	st := &Steps{dir: s.dir}
	for _, g := range st.generations(basePrefix) {
		st.generation = max(st.generation, g)
	}
	if st.generation == 0 {
		return nil, nil, nil
	}
	if base, err = os.ReadFile(filepath.Join(s.dir, basePrefix+strconv.FormatUint(st.generation, 10))); err != nil {
		return nil, nil, err
	}
	for first := true; ; first = false {
		more, err := st.read()
		if errors.Is(err, fs.ErrNotExist) {
			if first { // it was forgotten while that base was written
				return nil, nil, nil
			}
			return base, steps, nil
		}
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, more...)
		st.generation++
	}
}

func (st *Steps) read() (steps [][]byte, err error) {
	data, err := os.ReadFile(st.path())
	if err != nil {
		return nil, err
	}
	for at := 0; at+stepHead <= len(data); {
		size := int(binary.NativeEndian.Uint32(data[at:]))
		if size == 0 {
			break
		}
		begin := at + stepHead
		if size > len(data)-begin || crc32.Checksum(data[begin:begin+size], castagnoli) != binary.NativeEndian.Uint32(data[at+4:]) {
			return nil, fmt.Errorf("%s is damaged at byte %d", st.path(), at)
		}
		steps = append(steps, data[begin:begin+size])
		at = begin + (size+3)&^3
	}
	return steps, nil
}

// Forget removes what an earlier life decided: it has ended, or is not gone on with.
func (s *Store) Forget() error {
	st := &Steps{dir: s.dir}
	last := uint64(0)
	for _, g := range st.generations(basePrefix, stepsPrefix) {
		last = max(last, g)
	}
	return st.removeBefore(last + 1)
}

// SetAside keeps what Recall returns, which makes no sense, under other names.
func (s *Store) SetAside() error {
	st := &Steps{dir: s.dir}
	var errs []error
	for _, prefix := range []string{basePrefix, stepsPrefix} {
		for _, g := range st.generations(prefix) {
			path := filepath.Join(s.dir, prefix+strconv.FormatUint(g, 10))
			errs = append(errs, os.Rename(path, path+corrupt))
		}
	}
	return errors.Join(errs...)
}

// Continue goes on with the steps that Recall has returned. What a life has left that was
// killed while it began anew is removed: steps behind a generation that is missing would
// never be recalled.
func (s *Store) Continue() (*Steps, error) {
	st := &Steps{dir: s.dir}
	for _, g := range st.generations(basePrefix) {
		st.generation = max(st.generation, g)
	}
	files := st.generations(stepsPrefix)
	for slices.Contains(files, st.generation+1) {
		st.generation++
	}
	for _, g := range files {
		if g > st.generation {
			if err := os.Remove((&Steps{dir: s.dir, generation: g}).path()); err != nil {
				return nil, err
			}
		}
	}
	steps, err := st.read()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(st.path(), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st.file = f
	for _, step := range steps {
		st.end += stepHead + (len(step)+3)&^3
	}
	size := stepsSize
	for size < st.end+stepHead {
		size *= 2
	}
	if err := st.grow(size); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}
