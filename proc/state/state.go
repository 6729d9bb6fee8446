// Package state keeps on disk what the next bhnode must know: the process of each
// service, the last incarnation of each, and the holds. Every file is JSON, 0600. The holds
// are replaced as a whole and survive a power cut; records mean nothing after a reboot.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// version is that of the file format; a file of another one is set aside.
const version = 1

const (
	holdsFile   = "holds.json"
	recordsFile = "records"
	temporary   = ".tmp"
	corrupt     = ".corrupt"
)

// Record says which process is the main one of an incarnation, and how to stop it.
type Record struct {
	Service     string `json:"service"`
	Incarnation uint64 `json:"incarnation"`
	// BootID and StartTime (in clock ticks since boot) tell Pid from a later process of that number.
	BootID     string        `json:"boot_id,omitempty"`
	Pid        int           `json:"pid,omitempty"` // 0: about to be started
	StartTime  uint64        `json:"start_time,omitempty"`
	StopSignal int           `json:"stop_signal,omitempty"`
	Grace      time.Duration `json:"grace_ns,omitempty"`
	Socket     string        `json:"socket,omitempty"` // its unix socket, "": none
	Started    time.Time     `json:"started,omitzero"`
	Stdout     uint64        `json:"stdout,omitempty"` // inodes of its output pipes
	Stderr     uint64        `json:"stderr,omitempty"`
	Group      *Group        `json:"group,omitempty"` // nil: it has none
}

// Group is what holds an incarnation: directories of the kernel's groups.
type Group struct {
	Leaf    string            `json:"leaf,omitempty"` // "": the kernel tracks nothing
	Frozen  bool              `json:"frozen,omitempty"`
	Limited bool              `json:"limited,omitempty"`
	Holders []string          `json:"holders,omitempty"`
	Enter   []string          `json:"enter,omitempty"`
	Counts  map[string]string `json:"counts,omitempty"` // where each controller counts; of cgroup v2 all in one place, ""
	Ran     time.Duration     `json:"ran_ns,omitempty"` // what earlier incarnations have used of processors in the leaf
	Base    [4]uint64         `json:"base"`             // what was counted before: kills, throttled periods, nanoseconds, refused forks
}

// Hold is one service that an operator wants down.
type Hold struct {
	Only bool `json:"only"` // its dependents stay wanted
}

// file is a Record on disk; without Life only the number of the last incarnation is left.
type file struct {
	Version int  `json:"version"`
	Life    bool `json:"life"`
	Record
}

type holds struct {
	Version int             `json:"version"`
	Holds   map[string]Hold `json:"holds"`
}

// Store is the state of one node. Calls about one service must not overlap; all
// else may.
type Store struct {
	dir     string
	records *records
	damaged []string

	mu    sync.Mutex
	files map[string]file
	holds map[string]Hold
}

// Open reads the state in dir, which it makes if need be (0700). What cannot be understood
// is kept in FILE.corrupt, and FILE named by Damaged.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, files: map[string]file{}, holds: map[string]Hold{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the state directory: %w", err)
	}
	path := filepath.Join(dir, recordsFile)
	r, found, damaged, err := openRecords(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the state: %w", err)
	}
	s.records = r
	for _, f := range found {
		s.files[f.Service] = f
	}
	if damaged {
		s.damaged = append(s.damaged, path)
	}
	if err := s.loadHolds(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close gives the files back; the state stays.
func (s *Store) Close() error { return s.records.file.Close() }

func (s *Store) loadHolds() error {
	var h holds
	ok, err := s.read(filepath.Join(s.dir, holdsFile), &h, func() bool { return h.Version == version })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot read the holds: %w", err)
	case ok && h.Holds != nil:
		s.holds = h.Holds
	}
	return nil
}

// read fills v from the file at path and reports whether it is good; one that is not is set aside.
func (s *Store) read(path string, v any, good func() bool) (bool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if json.Unmarshal(data, v) == nil && good() {
		return true, nil
	}
	s.damaged = append(s.damaged, path)
	return false, os.Rename(path, path+corrupt)
}

// Dir returns where the state is.
func (s *Store) Dir() string { return s.dir }

// Damaged returns the files that Open set aside, by their former names.
func (s *Store) Damaged() []string { return s.damaged }

// Put records an incarnation.
func (s *Store) Put(r Record) error { return s.put(file{Version: version, Life: true, Record: r}) }

// Delete forgets the incarnation of service, but not its number.
func (s *Store) Delete(service string) error {
	s.mu.Lock()
	f, ok := s.files[service]
	s.mu.Unlock()
	if !ok || !f.Life {
		return nil
	}
	return s.put(file{Version: version, Record: Record{Service: service, Incarnation: f.Incarnation}})
}

func (s *Store) put(f file) error {
	s.mu.Lock()
	s.files[f.Service] = f
	s.mu.Unlock()
	if err := s.records.put(&f); err != nil {
		return fmt.Errorf("cannot write the state: the record of %s: %w", f.Service, err)
	}
	return nil
}

// Get returns the incarnation of a service that was recorded and not deleted.
func (s *Store) Get(service string) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[service]
	return f.Record, f.Life
}

// All returns the incarnations that were recorded and not deleted, by service.
func (s *Store) All() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Record
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if f := s.files[name]; f.Life {
			all = append(all, f.Record)
		}
	}
	return all
}

// LastIncarnations returns the number of the last incarnation of every service that ever ran.
func (s *Store) LastIncarnations() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := make(map[string]uint64, len(s.files))
	for name, f := range s.files {
		last[name] = f.Incarnation
	}
	return last
}

// Holds returns the holds.
func (s *Store) Holds() map[string]Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.holds)
}

// SetHolds replaces the holds; they survive a power cut. Calls must not overlap.
func (s *Store) SetHolds(h map[string]Hold) error {
	s.mu.Lock()
	s.holds = maps.Clone(h)
	if s.holds == nil {
		s.holds = map[string]Hold{}
	}
	s.mu.Unlock()
	return replace(filepath.Join(s.dir, holdsFile), holds{Version: version, Holds: h})
}

// replace writes v beside path and renames it there; that survives a power cut.
func replace(path string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = write(path+temporary, append(data, '\n'), true)
		written()
	}
	if err == nil {
		err = os.Rename(path+temporary, path)
		written()
	}
	if err != nil {
		return fmt.Errorf("cannot write the state: %w", err)
	}
	return nil
}

func write(path string, data []byte, durable bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
