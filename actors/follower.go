package actors

import (
	"sync"
	"sync/atomic"
	"time"
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
	pace    int       // bytes a second that it wants to see, 0: all
	credit  int       // bytes of that it may see at once
	paid    time.Time // when credit was reckoned last
}

// NewFollower returns a follower that follows nothing yet.
func NewFollower[T any]() *Follower[T] {
	return &Follower[T]{batches: make(chan []T, followerRoom)}
}

// AtPace has the follower see no more than so many bytes a second, and followerBytes at
// once: what nobody could read must not cost as much as what it tells of. The rest counts
// as lost.
func (f *Follower[T]) AtPace(bytes int) *Follower[T] {
	f.pace, f.credit = bytes, followerBytes
	return f
}

// Batches is what was published; a batch must not be changed.
func (f *Follower[T]) Batches() <-chan []T { return f.batches }

// Lost is how many items were lost since the last call.
func (f *Follower[T]) Lost() uint64 { return f.lost.Swap(0) }

// takes tells whether the follower has room for a batch of n that weighs so many bytes; else
// it is lost to it.
func (f *Follower[T]) takes(n, weight int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for taken := len(f.weights) - len(f.batches); taken > 0; taken-- {
		f.weight -= f.weights[0]
		f.weights = f.weights[1:]
	}
	if len(f.weights) > 0 && f.weight+weight > followerBytes || !f.affords(weight) {
		f.lost.Add(uint64(n)) //nolint:gosec // a length
		return false
	}
	return true
}

// affords tells whether a batch is within the pace.
func (f *Follower[T]) affords(weight int) bool {
	if f.pace == 0 {
		return true
	}
	now := time.Now()
	if earned := now.Sub(f.paid).Seconds() * float64(f.pace); earned < followerBytes {
		f.credit = min(f.credit+int(earned), followerBytes)
	} else {
		f.credit = followerBytes
	}
	f.paid = now
	if f.credit < min(weight, followerBytes) {
		return false
	}
	f.credit -= weight
	return true
}

// offer hands a batch over for which there was room.
func (f *Follower[T]) offer(batch []T, weight int) {
	f.mu.Lock()
	defer f.mu.Unlock()
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

// publish hands a batch of so many to those who have room for it. own makes of it what may be kept; it
// is made for nobody else.
func (fs followers[T]) publish(batch []T, count, weight int, own func([]T) []T) (kept bool) {
	for f := range fs {
		if !f.takes(count, weight) {
			continue
		}
		if !kept {
			batch, kept = own(batch), true
		}
		f.offer(batch, weight)
	}
	return kept
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
