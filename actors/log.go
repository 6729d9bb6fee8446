package actors

import (
	"bytes"
	"slices"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc/logstore"
)

const (
	// recentLines of each service are in memory, or fewer where they take more than
	// recentBytes.
	recentLines = 10
	recentBytes = 64 << 10
	// lineBytes is what a line takes besides its text.
	lineBytes = 176
)

// logBook is the log of one service: its numbers, its last lines, what is on disk,
// and who follows. Its actors, one after the other, own it.
type logBook struct {
	seq       uint64
	recent    []logstore.Entry
	followers followers[logstore.Entry]
	disk      disk[logstore.Entry]
	drop      bool                                   // the oldest lines rather than have the service wait
	written   struct{ stdout, stderr atomic.Uint64 } // lines
}

// newLogBook returns the book of a log on disk, or in memory with a nil store.
func newLogBook(store *logstore.Store, drop bool, log zerolog.Logger) *logBook {
	b := &logBook{drop: drop, followers: followers[logstore.Entry]{}}
	b.disk.log, b.disk.what = log, "log lines"
	if store != nil {
		b.seq = store.LastSeq()
		b.disk.append = store.Append
	}
	return b
}

// logActor takes the lines of one service down: it numbers them.
type logActor struct{ *logBook }

// Receive implements actor.Actor.
func (a *logActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		a.disk.resume(c)
	case writeLines:
		a.write(c, m)
	case landed[logstore.Entry]:
		a.disk.landed(c, m.flight)
	case follow[logstore.Entry]:
		a.followers.add(m.follower)
		m.reply <- followed[logstore.Entry]{last: a.seq, recent: append([]logstore.Entry(nil), a.recent...)}
	case unfollow[logstore.Entry]:
		delete(a.followers, m.follower)
	case flush:
		a.disk.write(c, parcel[logstore.Entry]{ack: m.done})
	}
}

func (a *logActor) write(c actor.Context, m writeLines) {
	lines := 0
	for i := range m.entries {
		lines += 1 + m.entries[i].Joined
		m.entries[i].Seq = a.seq + uint64(lines) //nolint:gosec // a count
	}
	a.seq += uint64(lines)
	if len(m.entries) > 0 && m.entries[0].Stream == "stderr" {
		a.written.stderr.Add(uint64(lines))
	} else {
		a.written.stdout.Add(uint64(lines))
	}
	p := parcel[logstore.Entry]{items: m.entries, count: lines, weight: m.bytes + len(m.entries)*lineBytes, ack: m.done}
	a.keep(m.entries)
	// With entries of their own, as the writing parses those that it has.
	p.shared = a.followers.publish(m.entries, lines, m.bytes+lines*lineBytes, apart)
	switch {
	case a.drop:
		m.done <- receipt{written: true}
		p.ack = nil
		a.disk.write(c, p)
	case m.late && a.disk.busy():
		a.disk.drop(p, nil)
	default:
		a.disk.write(c, p)
	}
}

// apart returns a batch as one entry a line, which share the memory of their texts.
func apart(batch []logstore.Entry) []logstore.Entry {
	out := make([]logstore.Entry, 0, len(batch))
	for i := range batch {
		if e := &batch[i]; e.Joined > 0 {
			out = append(out, e.Lines(e.Joined+1)...)
		} else {
			out = append(out, *e)
		}
	}
	return out
}

// keep remembers the last lines, apart from the batch they came in.
func (a *logActor) keep(batch []logstore.Entry) {
	for _, joined := range batch[max(0, len(batch)-recentLines):] {
		for _, e := range joined.Lines(recentLines) {
			e.Line = bytes.Clone(e.Line)
			a.recent = append(a.recent, e)
		}
	}
	size, first := 0, len(a.recent)
	for first > 0 && len(a.recent)-first < recentLines {
		size += len(a.recent[first-1].Line)
		if size > recentBytes && first < len(a.recent) {
			break
		}
		first--
	}
	a.recent = slices.Delete(a.recent, 0, first)
}
