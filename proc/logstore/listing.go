package logstore

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Listing tells which services have anything in a directory of logs. Those that have nothing
// need not be looked for by each name that a file of theirs might have.
type Listing struct{ have map[string]bool }

// List lists a directory, which it makes if need be; nil: it cannot be read or written to.
func List(dir string) *Listing {
	if os.MkdirAll(dir, 0o700) != nil || unix.Access(dir, unix.W_OK|unix.X_OK) != nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	l := &Listing{have: make(map[string]bool, len(entries))}
	for _, e := range entries {
		name := e.Name()
		for _, suffix := range []string{logSuffix, seqSuffix} {
			if at := strings.LastIndex(name, suffix); at > 0 {
				l.have[name[:at]] = true
			}
		}
	}
	return l
}

// lacks tells whether there is nothing of a service.
func (l *Listing) lacks(service string) bool { return l != nil && !l.have[service] }
