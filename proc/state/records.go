package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// pageSize is the least that memory pages have.
const pageSize = 4096

// records is the file that has a page for each service. A page is overwritten where it is, by
// one write, which no SIGKILL can tear: a file of its own for each, opened and renamed, took a
// tenth of what bhnode does for a start.
type records struct {
	file *os.File

	mu    sync.Mutex
	pages map[string]int64 // where that of a service is
	free  []int64
	end   int64
}

// errTooLong is why a record is not kept: two pages would not be one write.
var errTooLong = fmt.Errorf("it has more than %d bytes", pageSize)

// openRecords opens the file, which it makes if need be, and returns the records in it and
// whether there was anything else, which is then kept beside it.
func openRecords(path string) (r *records, found []file, damaged bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, false, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, false, errors.Join(err, f.Close())
	}
	r = &records{file: f, pages: map[string]int64{}}
	for ; r.end < int64(len(data)); r.end += pageSize {
		page := data[r.end:min(r.end+pageSize, int64(len(data)))]
		var rec file
		good := json.Unmarshal(page, &rec) == nil && rec.Version == version && rec.Service != ""
		if _, twice := r.pages[rec.Service]; good && !twice {
			found = append(found, rec)
			r.pages[rec.Service] = r.end
			continue
		}
		damaged = damaged || len(bytes.Trim(page, "\x00")) > 0
		r.free = append(r.free, r.end)
	}
	if !damaged {
		return r, found, false, nil
	}
	err = os.WriteFile(path+corrupt, data, 0o600)
	for _, at := range r.free {
		_, writeErr := f.WriteAt(make([]byte, pageSize), at)
		err = errors.Join(err, writeErr)
	}
	if err != nil {
		return nil, nil, true, errors.Join(err, f.Close())
	}
	return r, found, true, nil
}

// blank is what a page holds behind its record.
var blank = [pageSize]byte([]byte(strings.Repeat(" ", pageSize-1) + "\n"))

// put writes the record of a service.
func (r *records) put(f *file) error {
	page := pages.Get().(*[pageSize]byte) //nolint:forcetypeassert // as made
	defer pages.Put(page)
	text := f.append(page[:0])
	if len(text) >= pageSize {
		return errTooLong
	}
	copy(page[len(text):], blank[len(text):])
	_, err := r.file.WriteAt(page[:], r.place(f.Service))
	written()
	return err
}

// place is where the page of a service is to be.
func (r *records) place(service string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.pages[service]
	switch {
	case ok:
		return at
	case len(r.free) > 0:
		at, r.free = r.free[0], r.free[1:]
	default:
		at = r.end
		r.end += pageSize
	}
	r.pages[service] = at
	return at
}

var pages = sync.Pool{New: func() any { return new([pageSize]byte) }}
