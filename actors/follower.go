package actors

import "sync/atomic"

// followerRoom is how many batches a follower may lag behind before it loses some.
const followerRoom = 256

// Follower receives what is published after it began. A slow one loses batches,
// it never holds anything up.
type Follower[T any] struct {
	batches chan []T
	lost    atomic.Uint64
}

// NewFollower returns a follower that follows nothing yet.
func NewFollower[T any]() *Follower[T] {
	return &Follower[T]{batches: make(chan []T, followerRoom)}
}

// Batches is what was published; a batch must not be changed.
func (f *Follower[T]) Batches() <-chan []T { return f.batches }

// Lost is how many items were lost since the last call.
func (f *Follower[T]) Lost() uint64 { return f.lost.Swap(0) }

func (f *Follower[T]) offer(batch []T) {
	select {
	case f.batches <- batch:
	default:
		f.lost.Add(uint64(len(batch)))
	}
}

// recent keeps the newest items and passes new ones on. It belongs to one actor.
type recent[T any] struct {
	limit     int
	weigh     func(T) int // bytes of an item
	budget    int         // bytes the items may weigh
	weight    int
	items     []T // at most twice limit
	followers map[*Follower[T]]bool
}

func (r *recent[T]) publish(batch []T) {
	r.items = append(r.items, batch...)
	if len(r.items) > 2*r.limit {
		r.items = append(r.items[:0:0], r.items[len(r.items)-r.limit:]...)
	}
	if r.weigh != nil {
		r.slim(batch)
	}
	for f := range r.followers {
		f.offer(batch)
	}
}

// slim drops the oldest items of a list that weighs too much; the newest stays.
func (r *recent[T]) slim(batch []T) {
	for _, item := range batch {
		r.weight += r.weigh(item)
	}
	if r.weight <= r.budget {
		return
	}
	first := len(r.items) - 1
	for r.weight = r.weigh(r.items[first]); first > 0 && r.weight+r.weigh(r.items[first-1]) <= r.budget/2; first-- {
		r.weight += r.weigh(r.items[first-1])
	}
	r.items = append(r.items[:0:0], r.items[first:]...)
}

// list returns a copy of the newest items.
func (r *recent[T]) list() []T {
	return append([]T(nil), r.items[max(0, len(r.items)-r.limit):]...)
}
