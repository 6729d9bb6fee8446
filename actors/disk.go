package actors

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
)

// diskRoom is how many bytes may wait for a disk that does not keep up; then the
// oldest are dropped.
const diskRoom = 8 << 20

// errUnwritten is why a batch was lost whose flight has panicked.
var errUnwritten = errors.New("it was not written")

// quietTime lies at least between two reports of the same trouble.
const quietTime = 10 * time.Second

// disk writes batches one after the other; while one flight is under way the next
// batches gather. It is used by one actor at a time; a successor resumes it.
type disk[T any] struct {
	log    zerolog.Logger
	what   string
	append func([]T) error // nil: nothing is kept
	queue  []parcel[T]
	waits  int // bytes of the queue
	flight *flight[T]
	lost   uint64        // items, since that was last told
	gone   atomic.Uint64 // items lost in all
	told   time.Time
	failed bool
}

// parcel is a batch on its way to the disk. ack, if there is one, has room for the
// one answer it gets.
type parcel[T any] struct {
	items  []T
	count  int // of what they hold
	weight int
	shared bool // somebody else reads what the items point to
	ack    chan<- receipt
}

// receipt says what has become of a batch.
type receipt struct {
	written bool
	landed  bool // on the disk
	free    bool // nobody uses its memory any more
}

func (p *parcel[T]) answer(written bool) {
	if p.ack != nil {
		p.ack <- receipt{written: written, landed: written, free: !p.shared}
	}
}

// flight is a write under way.
type flight[T any] struct {
	parcels []parcel[T]
	done    chan struct{}
	errs    []error // one a parcel; to be read when done
}

// landed: a flight is over.
type landed[T any] struct{ flight *flight[T] }

// resume goes on with the flight that a predecessor has left.
func (d *disk[T]) resume(c actor.Context) {
	if f := d.flight; f != nil {
		await(c, func() any {
			<-f.done
			return landed[T]{f}
		})
	}
}

// busy tells whether what is written now has to wait.
func (d *disk[T]) busy() bool { return d.flight != nil }

// write queues a batch.
func (d *disk[T]) write(c actor.Context, p parcel[T]) {
	if d.append == nil {
		p.answer(true)
		return
	}
	d.queue = append(d.queue, p)
	d.waits += p.weight
	for d.waits > diskRoom && len(d.queue) > 1 {
		oldest := d.queue[0]
		d.queue = d.queue[1:]
		d.waits -= oldest.weight
		d.drop(oldest, nil)
	}
	d.fly(c)
}

// drop gives a batch up.
func (d *disk[T]) drop(p parcel[T], err error) {
	p.answer(false)
	if len(p.items) == 0 {
		return
	}
	d.lost += uint64(p.count)   //nolint:gosec // a count
	d.gone.Add(uint64(p.count)) //nolint:gosec // a count
	if d.failed || time.Since(d.told) < quietTime {
		return
	}
	d.failed, d.told = true, time.Now()
	log, what := d.log, d.what
	aside(func() { // bhnode's own log may be on the same disk
		log.Error().AnErr("err", err).Msg(what + " cannot be written and are lost until they can")
	})
}

// fly writes what has gathered, unless a flight is under way.
func (d *disk[T]) fly(c actor.Context) {
	if d.flight != nil || len(d.queue) == 0 {
		return
	}
	f := &flight[T]{parcels: d.queue, errs: make([]error, len(d.queue)), done: make(chan struct{})}
	d.flight, d.queue, d.waits = f, nil, 0
	for i, p := range f.parcels {
		if len(p.items) > 0 {
			f.errs[i] = errUnwritten
		}
	}
	write := d.append
	await(c, func() any {
		defer close(f.done)
		for i := range f.parcels {
			if p := &f.parcels[i]; len(p.items) > 0 {
				f.errs[i] = write(p.items)
			}
		}
		return landed[T]{f}
	})
}

// landed ends a flight. A disk that fails costs lines, never a service: they are
// counted, and that is told when it begins and when it is over.
func (d *disk[T]) landed(c actor.Context, f *flight[T]) {
	if f != d.flight {
		return // its predecessor's, that was resumed
	}
	d.flight = nil
	bad := false
	for i, p := range f.parcels {
		if err := f.errs[i]; err != nil {
			bad = true
			d.drop(p, err)
		} else {
			p.answer(true)
		}
	}
	if !bad && d.lost > 0 && len(d.queue) == 0 && (d.failed || time.Since(d.told) >= quietTime) {
		log, what, lost := d.log, d.what, d.lost
		aside(func() { log.Warn().Uint64("lost", lost).Msg(what + " were lost") })
		d.failed, d.lost, d.told = false, 0, time.Now()
	}
	d.fly(c)
}
