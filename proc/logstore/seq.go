package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// lastSeq returns the number of the last line kept, 0 if there is none: the greater of
// that of the last LogEntry and that in the .seq file, as the format may have changed.
func lastSeq(o Options) (uint64, error) {
	kept, err := readSeq(o.seqPath())
	if err != nil || (o.Raw && kept > 0) {
		return kept, err
	}
	files := chain{o: o}
	defer files.close()
	for {
		src, err := files.older()
		if src == nil || err != nil {
			return kept, err
		}
		found, err := src.lastSeq()
		if err != nil || found > 0 {
			return max(found, kept), err
		}
	}
}

// readSeq reads a .seq file; one that is missing or makes no sense says 0.
func readSeq(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		return 0, err
	}
	seq, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, nil //nolint:nilerr // as promised
	}
	return seq, nil
}

// writeSeq overwrites a .seq file, always with as many bytes, so that it needs no room
// once it is there.
func writeSeq(f *os.File, seq uint64) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%020d\n", seq), 0)
	return err
}
