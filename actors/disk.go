package actors

import (
	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
)

// disk writes batches one after the other; while one is under way the next ones
// gather. It belongs to one actor.
type disk[T any] struct {
	log    zerolog.Logger
	what   string
	append func([]T) error // nil: nothing is kept
	then   []afterwards
	queue  []T
	dones  []chan<- struct{} // of the queue
	flying []chan<- struct{} // of the batch under way
	inAir  int
	taken  uint64 // items ever queued
	over   uint64 // items written or lost
	lost   uint64
	failed bool
}

// afterwards is done once that many items are written or lost.
type afterwards struct {
	items uint64
	do    func()
}

// waitingLimit is how many items may wait where the oldest are dropped.
const waitingLimit = 16384

func (d *disk[T]) busy() bool { return d.inAir > 0 }

// write queues a batch; done is closed when it is on disk or was lost.
func (d *disk[T]) write(c actor.Context, batch []T, done chan<- struct{}) {
	if d.append == nil {
		if done != nil {
			close(done)
		}
		return
	}
	d.taken += uint64(len(batch))
	d.queue = append(d.queue, batch...)
	if done != nil {
		d.dones = append(d.dones, done)
	}
	d.fly(c)
}

// writeNewest queues a batch and drops the oldest items where too many wait.
func (d *disk[T]) writeNewest(c actor.Context, batch []T) {
	d.write(c, batch, nil)
	if over := len(d.queue) - waitingLimit; over > 0 {
		d.lost += uint64(over)
		d.over += uint64(over)
		d.queue = append(d.queue[:0:0], d.queue[over:]...)
	}
}

func (d *disk[T]) fly(c actor.Context) {
	if d.inAir > 0 || len(d.queue) == 0 {
		return
	}
	batch, write := d.queue, d.append
	d.queue, d.flying, d.dones = nil, d.dones, nil
	d.inAir = len(batch)
	await(c, func() any { return written{write(batch)} })
}

// written ends the batch under way. A disk that fails costs lines, never a
// service: they are counted and told once.
func (d *disk[T]) written(c actor.Context, err error) {
	n := d.inAir
	d.inAir = 0
	d.over += uint64(n)
	for _, done := range d.flying {
		close(done)
	}
	d.flying = nil
	switch {
	case err != nil:
		d.lost += uint64(n)
		if !d.failed {
			d.failed = true
			d.log.Error().Err(err).Msg(d.what + " could not be written and are lost until it can")
		}
	case d.failed || d.lost > 0 && len(d.queue) == 0:
		d.log.Warn().Uint64("lost", d.lost).Msg(d.what + " were lost")
		d.failed, d.lost = false, 0
	}
	d.fly(c)
	d.settle()
}

// after does something once all that is queued by then is written or lost.
func (d *disk[T]) after(do func()) {
	d.then = append(d.then, afterwards{d.taken, do})
	d.settle()
}

func (d *disk[T]) settle() {
	for len(d.then) > 0 && d.then[0].items <= d.over {
		d.then[0].do()
		d.then = d.then[1:]
	}
}
