package logstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Query says which entries of a log are wanted.
type Query struct {
	Tail   *int // the last so many of those that match; nil: all
	Since  time.Time
	Stream string // "": both
	Grep   *regexp.Regexp
	Level  string // only entries of this level and above, see Levels; "": all
	Among  int    // reads at a time, which share the memory for a tail; 0: it is the only one
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
	r := reader{o: o, q: q, files: chain{o: o, since: q.Since}, room: roomForTail / max(q.Among, 1)}
	defer r.files.close()
	var err error
	if q.Tail != nil {
		err = r.findTail(ctx, *q.Tail)
	} else {
		err = r.openAll()
	}
	if err != nil {
		return fmt.Errorf("cannot read the log of %s: %w", o.Service, err)
	}
	if err := r.read(ctx, yield); err != nil {
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
	room  int // for what findTail finds
}

// openAll opens all files that may hold something wanted.
func (r *reader) openAll() error {
	for {
		if src, err := r.files.older(); src == nil || err != nil {
			return err
		}
	}
}

// read yields what is wanted of the files opened.
func (r *reader) read(ctx context.Context, yield func(Entry) bool) error {
	var errs []error
	goOn := true
	until := func(e Entry) bool {
		goOn = yield(e)
		return goOn
	}
	for _, src := range slices.Backward(r.files.sources) {
		err := r.readSource(ctx, src, until)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", src.info.Name(), err))
		}
		if !goOn || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// readSource yields what is wanted of one file until yield returns false or ctx ends.
func (r *reader) readSource(ctx context.Context, src *source, yield func(Entry) bool) error {
	t := &src.tail
	if t.kept {
		if !src.gz {
			slices.Reverse(t.entries)
		}
		for _, e := range t.entries {
			if !yield(e) || r.over(ctx) {
				break
			}
		}
		return t.err
	}
	if t.offset == 0 {
		t.offset = r.begin(src)
	}
	return src.forward(t.offset, func(line []byte, open bool) bool {
		e, ok := r.accept(src, line, open)
		if ok && t.skip > 0 {
			t.skip--
			ok = false
		}
		return (!ok || yield(e)) && !r.over(ctx)
	})
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
