package actors

import (
	"sync"
	"sync/atomic"
)

const (
	// followerRoom is how many batches a follower may lag behind before it loses some,
	// followerBytes how much memory they may take.
	followerRoom  = 4096
	followerBytes = 4 << 20
)

// Follower receives what is published after it began. A slow one loses batches,
// it never holds anything up.
type Follower[T any] struct {
	batches chan []T
	lost    atomic.Uint64

	mu      sync.Mutex // it may follow several logs
	weights []int      // of the batches in the channel, and of some that were taken
	weight  int
}

// NewFollower returns a follower that follows nothing yet.
func NewFollower[T any]() *Follower[T] {
	return &Follower[T]{batches: make(chan []T, followerRoom)}
}

// Batches is what was published; a batch must not be changed.
func (f *Follower[T]) Batches() <-chan []T { return f.batches }

// Lost is how many items were lost since the last call.
func (f *Follower[T]) Lost() uint64 { return f.lost.Swap(0) }

// offer hands a batch over that weighs so many bytes, or counts it as lost.
func (f *Follower[T]) offer(batch []T, weight int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for taken := len(f.weights) - len(f.batches); taken > 0; taken-- {
		f.weight -= f.weights[0]
		f.weights = f.weights[1:]
	}
	if len(f.weights) > 0 && f.weight+weight > followerBytes {
		f.lost.Add(uint64(len(batch)))
		return
	}
	select {
	case f.batches <- batch:
		f.weights = append(f.weights, weight)
		f.weight += weight
	default:
		f.lost.Add(uint64(len(batch)))
	}
}

// followers are those of one log or journal.
type followers[T any] map[*Follower[T]]bool

func (fs followers[T]) publish(batch []T, weight int) {
	for f := range fs {
		f.offer(batch, weight)
	}
}

func (fs followers[T]) add(f *Follower[T]) {
	if f != nil {
		fs[f] = true
	}
}

// guests counts the streams to followers, which get what has come before the node
// ends.
type guests struct {
	mu   sync.Mutex
	n    int
	left chan struct{} // closed when n is 0; nil: nobody waits
}

func (g *guests) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

func (g *guests) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.left != nil {
		close(g.left)
		g.left = nil
	}
}

// gone is closed when no guest is there.
func (g *guests) gone() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := make(chan struct{})
	if g.n == 0 {
		close(left)
	} else {
		g.left = left
	}
	return left
}
