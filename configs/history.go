package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keptConfigs is how many applied configurations are kept.
const keptConfigs = 10

const (
	pendingFile  = "pending.json"
	rejectedFile = "rejected.json"
)

// History is a directory of the configurations that were applied. It holds secrets: the
// directory is 0700, its files 0600.
type History struct{ dir string }

// Applied is one configuration that was applied.
type Applied struct {
	Number int       `json:"number"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"` // what applied it, and for whom
	Snapshot
}

// OpenHistory is the history of a node with this data directory. It makes nothing.
func OpenHistory(dataDir string) History { return History{filepath.Join(dataDir, "configs")} }

// List returns what was applied, the last first. What cannot be read is left out.
func (h History) List() []Applied {
	entries, _ := os.ReadDir(h.dir) // not there: nothing was applied
	var all []Applied
	for _, e := range entries {
		number, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".json"))
		if err != nil || number <= 0 {
			continue
		}
		if a, err := h.read(e.Name()); err == nil && a.Number == number {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b Applied) int { return b.Number - a.Number })
	return all
}

// Last is what was applied last; false if nothing was.
func (h History) Last() (Applied, bool) {
	if all := h.List(); len(all) > 0 {
		return all[0], true
	}
	return Applied{}, false
}

// Get returns what was applied under a number.
func (h History) Get(number int) (Applied, error) {
	for _, a := range h.List() {
		if a.Number == number {
			return a, nil
		}
	}
	return Applied{}, fmt.Errorf("no configuration number %d is kept", number)
}

// Path is the file of what was applied under a number.
func (h History) Path(number int) string { return filepath.Join(h.dir, strconv.Itoa(number)+".json") }

// Apply notes that a configuration is in force, unless it is the last already, and forgets
// the oldest.
func (h History) Apply(s Snapshot, at time.Time, by string) error {
	_ = os.Remove(filepath.Join(h.dir, rejectedFile)) // it says nothing any more
	all := h.List()
	number := 1
	if len(all) > 0 {
		if all[0].Same(s) {
			return nil
		}
		number = all[0].Number + 1
	}
	if err := h.write(strconv.Itoa(number)+".json", Applied{number, at, by, s}); err != nil {
		return err
	}
	for _, old := range all[min(len(all), keptConfigs-1):] {
		if err := os.Remove(h.Path(old.Number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Prepare keeps a configuration that is about to come into force, and returns its file.
func (h History) Prepare(s Snapshot, at time.Time, by string) (string, error) {
	return filepath.Join(h.dir, pendingFile), h.write(pendingFile, Applied{Time: at, By: by, Snapshot: s})
}

// Pending is the configuration that is about to come into force; false if none is.
func (h History) Pending() (Applied, bool) {
	a, err := h.read(pendingFile)
	return a, err == nil
}

// Settle forgets the pending configuration: it is in force, or else it was rejected.
func (h History) Settle(inForce bool) error {
	from := filepath.Join(h.dir, pendingFile)
	var err error
	if inForce {
		err = os.Remove(from)
	} else {
		err = os.Rename(from, filepath.Join(h.dir, rejectedFile))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Rejected tells whether a configuration was the last that was tried, and was rolled back.
func (h History) Rejected(s Snapshot) bool {
	a, err := h.read(rejectedFile)
	return err == nil && a.Same(s)
}

// ReadApplied reads what History has written.
func ReadApplied(path string) (Applied, error) {
	var a Applied
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		return a, fmt.Errorf("cannot read the configuration that was kept: %w", err)
	}
	return a, nil
}

func (h History) read(name string) (Applied, error) { return ReadApplied(filepath.Join(h.dir, name)) }

// write replaces a file, whole or not at all.
func (h History) write(name string, a Applied) error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory of applied configurations: %w", err)
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(h.dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("cannot keep the configuration: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(h.dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error counts
		return fmt.Errorf("cannot keep the configuration: %w", err)
	}
	return nil
}
