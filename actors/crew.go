package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"
)

// crew is goroutines that run the actors of a system, and what is done beside for them. A new
// goroutine begins with a small stack that is copied ever larger while calls are nested; these
// keep what theirs has grown to. It is the dispatcher of its system, and an extension of it.
type crew struct {
	actor.Dispatcher // says how many messages an actor hears at a time

	mu    sync.Mutex
	idle  []chan func()
	ended bool
}

// mostIdle is how many wait for something to do.
const mostIdle = 64

var crewID = extensions.NextExtensionID()

func newCrew() *crew { return &crew{Dispatcher: actor.NewDefaultDispatcher(300)} }

// crewOf returns that of a system.
func crewOf(system *actor.ActorSystem) *crew {
	return system.Extensions.Get(crewID).(*crew) //nolint:forcetypeassert // as registered
}

// ExtensionID implements extensions.Extension.
func (*crew) ExtensionID() extensions.ExtensionID { return crewID }

// Schedule implements actor.Dispatcher: f is run by one that waits, or by a new one.
func (c *crew) Schedule(f func()) {
	c.mu.Lock()
	n := len(c.idle)
	if n == 0 {
		c.mu.Unlock()
		go c.work(f)
		return
	}
	next := c.idle[n-1]
	c.idle = c.idle[:n-1]
	c.mu.Unlock()
	next <- f
}

func (c *crew) work(f func()) {
	next := make(chan func(), 1)
	for f != nil {
		f()
		c.mu.Lock()
		if c.ended || len(c.idle) == mostIdle {
			c.mu.Unlock()
			return
		}
		c.idle = append(c.idle, next)
		c.mu.Unlock()
		f = <-next
	}
}

// end has nobody wait any more.
func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, next := range c.idle {
		close(next)
	}
	c.idle = nil
}
