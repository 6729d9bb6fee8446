package actors

import (
	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc/journal"
)

const (
	// recentEvents is how many events are kept in memory.
	recentEvents = 10000
	// eventBytes is about what one takes.
	eventBytes = 512
)

// eventRecord is one event of the journal.
type eventRecord = journal.Record

// journalBook is the event journal: what is in memory, on disk, and who follows.
// Its actors, one after the other, own it.
type journalBook struct {
	file      *journal.Journal // nil: in memory only
	before    uint64           // the last event of earlier lives of the node
	read      bool             // recent begins with those
	recent    []eventRecord
	followers followers[eventRecord]
	asked     []follow[eventRecord] // before read
	disk      disk[eventRecord]
}

func newJournalBook(file *journal.Journal, log zerolog.Logger) *journalBook {
	b := &journalBook{file: file, read: file == nil, followers: followers[eventRecord]{}}
	b.disk.log, b.disk.what = log, "events"
	if file != nil {
		b.before = file.LastSeq()
		b.disk.append = file.Append
	}
	return b
}

// journalActor takes the events of a node down.
type journalActor struct{ *journalBook }

// earlier is what was found in the file.
type earlier struct {
	records []eventRecord
	err     error
}

// Receive implements actor.Actor.
func (a *journalActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		a.disk.resume(c)
		if file := a.file; !a.read {
			await(c, func() any {
				records, err := file.Tail(recentEvents)
				return earlier{records, err}
			})
		}
	case earlier:
		a.begin(m)
	case writeEvents:
		weight := len(m.records) * eventBytes
		a.keep(m.records)
		a.followers.publish(m.records, len(m.records), weight, itself)
		a.disk.write(c, parcel[eventRecord]{items: m.records, count: len(m.records), weight: weight})
	case landed[eventRecord]:
		a.disk.landed(c, m.flight)
	case follow[eventRecord]:
		a.follow(m)
	case unfollow[eventRecord]:
		delete(a.followers, m.follower)
	case flush:
		a.disk.write(c, parcel[eventRecord]{ack: m.done})
	}
}

// itself is for what nobody changes.
func itself[T any](batch []T) []T { return batch }

// begin puts what earlier lives have left before what there is already.
func (a *journalActor) begin(m earlier) {
	if a.read {
		return
	}
	a.read = true
	if m.err != nil {
		a.disk.log.Error().Err(m.err).Msg("event journal could not be read")
	}
	var records []eventRecord
	for _, r := range m.records {
		if r.Seq <= a.before {
			records = append(records, r)
		}
	}
	a.recent = append(records, a.recent...)
	for _, f := range a.asked {
		a.follow(f)
	}
	a.asked = nil
}

// keep adds to what is in memory; an eighth more than promised, so that it is
// seldom moved.
func (a *journalActor) keep(batch []eventRecord) {
	a.recent = append(a.recent, batch...)
	if len(a.recent) > recentEvents+recentEvents/8 {
		a.recent = append([]eventRecord(nil), a.recent[len(a.recent)-recentEvents:]...)
	}
}

func (a *journalActor) follow(m follow[eventRecord]) {
	if !a.read {
		a.asked = append(a.asked, m)
		return
	}
	a.followers.add(m.follower)
	got := followed[eventRecord]{recent: append([]eventRecord(nil), a.recent[max(0, len(a.recent)-recentEvents):]...)}
	if n := len(got.recent); n > 0 {
		got.last = got.recent[n-1].Seq
	}
	m.reply <- got
}
