package logstore

import (
	"context"
	"errors"
	"io"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

// roomForTail is how many bytes of entries that a search has come upon are kept; where
// they are more the file is read once more, from the first of them on.
const roomForTail = 4 << 20

// tail is what a search for the last entries has found in one file.
type tail struct {
	found   int     // how many, of a compressed file all
	kept    bool    // entries holds them all
	entries []Entry // of a compressed file in order, else the last one first
	err     error   // where a compressed file that was kept is damaged

	// Where they begin, if they are not kept.
	offset int64 // not compressed: of the first line
	skip   int   // compressed: so many entries that match come before
}

// findTail opens as many files as hold the last n entries, and finds these.
func (r *reader) findTail(ctx context.Context, n int) error {
	for n > 0 {
		src, err := r.files.older()
		if src == nil || err != nil {
			return err
		}
		src.tail.kept = true
		if src.gz {
			err = r.tailForward(ctx, src, n)
		} else {
			err = r.tailBackward(ctx, src, n)
		}
		if err != nil {
			return err
		}
		n -= src.tail.found
	}
	return nil
}

// tailBackward looks for the last n entries from the end of a file on.
func (r *reader) tailBackward(ctx context.Context, src *source, n int) error {
	t, begin, size := &src.tail, r.begin(src), src.info.Size()
	err := segment.LinesBackward(io.NewSectionReader(src.file, begin, size-begin), size-begin, func(l segment.Line) bool {
		if e, ok := r.accept(src, l.Data, l.Open); ok {
			t.found++
			t.offset = begin + l.Offset
			r.keep(t, e)
		}
		return t.found < n && !r.over(ctx)
	})
	return errors.Join(err, ctx.Err())
}

// tailForward looks for the last n entries of a compressed file; what is damaged ends it.
func (r *reader) tailForward(ctx context.Context, src *source, n int) error {
	t := &src.tail
	t.err = src.forward(0, func(line []byte, open bool) bool {
		if e, ok := r.accept(src, line, open); ok {
			t.found++
			r.keep(t, e)
			if len(t.entries) > n {
				r.room += t.entries[0].InMemory()
				t.entries[0] = Entry{}
				t.entries = t.entries[1:]
			}
		}
		return !r.over(ctx)
	})
	t.skip = max(0, t.found-n)
	return ctx.Err()
}

// keep keeps an entry while there is room.
func (r *reader) keep(t *tail, e Entry) {
	if !t.kept {
		return
	}
	if r.room -= e.InMemory(); r.room < 0 {
		t.entries, t.kept = nil, false
		return
	}
	t.entries = append(t.entries, e)
}

// begin returns where in a file the entries begin that are not older than what is asked for,
// or a little before.
func (r *reader) begin(src *source) int64 {
	if r.q.Since.IsZero() || r.o.Raw {
		return 0
	}
	return src.since(r.q.Since)
}
