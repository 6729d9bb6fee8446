package logstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

// Query says which entries of a log are wanted.
type Query struct {
	Tail   *int // the last so many of those that match; nil: all
	Since  time.Time
	Stream string // "": both
	Grep   *regexp.Regexp
	Level  string // only entries of this level and above, see Levels; "": all
}

// Match reports whether e, which is parsed, is wanted; Tail does not matter to it. Grep
// looks at the message and at the fields.
func (q *Query) Match(e *Entry) bool { return q.matchHead(e) && q.matchText(e) }

// matchHead is Match without Grep.
func (q *Query) matchHead(e *Entry) bool {
	return (q.Stream == "" || e.Stream == q.Stream) &&
		(q.Level == "" || rank(e.Level) >= rank(q.Level)) &&
		!e.Time.Before(q.Since)
}

func (q *Query) matchText(e *Entry) bool {
	return q.Grep == nil || q.Grep.Match(e.Message) || q.Grep.Match(e.Fields)
}

// ErrNoStreams says that a raw log does not tell stdout from stderr.
var ErrNoStreams = errors.New("cannot select a stream: a raw log does not tell stdout from stderr")

// Read yields what is on disk when it is called, in order, until yield returns false
// or ctx ends. A line that is no LogEntry, and each of a raw log, has Line and Message
// and, for its time, that of its file. Entries share no memory. A file that cannot be
// read does not hide the others; the error comes after them.
func Read(ctx context.Context, o Options, q Query, yield func(Entry) bool) error {
	if o.Raw && q.Stream != "" {
		return ErrNoStreams
	}
	r := reader{o: o, q: q, files: chain{o: o, since: q.Since}}
	defer r.files.close()
	from := position{}
	var err error
	if q.Tail != nil {
		from, err = r.findTail(ctx, *q.Tail)
	} else {
		err = r.openAll()
	}
	if err != nil {
		return fmt.Errorf("cannot read the log of %s: %w", o.Service, err)
	}
	if err := r.read(ctx, from, yield); err != nil {
		return fmt.Errorf("cannot read the log of %s: %w", o.Service, err)
	}
	return nil
}

// reader carries out one Read.
type reader struct {
	o     Options
	q     Query
	files chain
	lines int
}

// position is a place in the oldest file opened.
type position struct {
	offset int64 // not compressed: of the first line
	skip   int   // compressed: so many entries that match come before
}

// openAll opens all files that may hold something wanted.
func (r *reader) openAll() error {
	for {
		if src, err := r.files.older(); src == nil || err != nil {
			return err
		}
	}
}

// findTail opens as many files as hold the last n entries and returns where those begin.
func (r *reader) findTail(ctx context.Context, n int) (position, error) {
	for n > 0 {
		src, err := r.files.older()
		if src == nil || err != nil {
			return position{}, err
		}
		if !src.gz {
			begin := int64(0)
			err := segment.LinesBackward(src.file, src.info.Size(), func(l segment.Line) bool {
				if _, ok := r.accept(src, l.Data, l.Open); ok {
					n--
					begin = l.Offset
				}
				return n > 0 && !r.over(ctx)
			})
			if err = errors.Join(err, ctx.Err()); err != nil || n == 0 {
				return position{offset: begin}, err
			}
			continue
		}
		found := 0
		if err := r.count(ctx, src, &found); err != nil {
			return position{}, err
		}
		if found >= n {
			return position{skip: found - n}, nil
		}
		n -= found
	}
	return position{}, nil
}

// count counts the wanted entries of a compressed file; what is damaged ends it.
func (r *reader) count(ctx context.Context, src *source, found *int) error {
	_ = src.forward(0, func(line []byte, open bool) bool {
		if _, ok := r.accept(src, line, open); ok {
			*found++
		}
		return !r.over(ctx)
	})
	return ctx.Err()
}

// read yields from a position in the oldest file on.
func (r *reader) read(ctx context.Context, from position, yield func(Entry) bool) error {
	var errs []error
	for _, src := range slices.Backward(r.files.sources) {
		goOn := true
		if from.offset == 0 && !r.q.Since.IsZero() && !r.o.Raw {
			from.offset = src.since(r.q.Since)
		}
		err := src.forward(from.offset, func(line []byte, open bool) bool {
			e, ok := r.accept(src, line, open)
			switch {
			case ok && from.skip > 0:
				from.skip--
			case ok:
				goOn = yield(e)
			}
			goOn = goOn && !r.over(ctx)
			return goOn
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", src.info.Name(), err))
		}
		if !goOn {
			break
		}
		from = position{}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// over reports now and then whether the call is to end.
func (r *reader) over(ctx context.Context) bool {
	r.lines++
	return r.lines%256 == 0 && ctx.Err() != nil
}

// accept makes an entry of a line; false: it is not wanted, or not finished.
func (r *reader) accept(src *source, line []byte, open bool) (Entry, bool) {
	if !r.o.Raw {
		if v, ok := look(line); ok {
			return v.entry(&r.q)
		}
		if at, ok := decodeTime(line); ok && at.Before(r.q.Since) {
			return Entry{}, false
		}
		e, ok := decodeAny(line)
		if ok {
			return e, r.q.Match(&e)
		}
		if open && src.growing {
			return Entry{}, false
		}
	}
	text := append([]byte{}, line...)
	e := Entry{Time: src.info.ModTime(), Service: r.o.Service, Line: text, Message: text, NoNewline: open}
	return e, r.q.Match(&e)
}
