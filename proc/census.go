package proc

import (
	"slices"
	"sync"
	"time"
)

// orphan is a child of ours that we did not fork: its own parent has died.
type orphan struct {
	procStat
	id identity
}

// longWalk is worth a rest of twice its time, so that walks never take more than a
// third of a processor, however many services end at once.
const longWalk = 200 * time.Microsecond

// census lists the orphans. A thousand services that ask at once are answered by a few
// walks: each asker gets the first one that begins after it asked.
type census struct {
	own     openFiles // of our main thread
	walking sync.Mutex
	known   map[life]identity // as first seen: a program may overwrite its environment
	ended   map[life]bool     // zombies of the last walk
	rested  time.Time         // when the next one may begin

	mu   sync.Mutex
	next *walk
}

type walk struct {
	once  sync.Once
	alive []orphan
	// unsure are those that were found dead for the first time, as what they have
	// started may have become ours too late for this walk, and those who cannot say
	// whose they are just now.
	unsure []orphan
}

func (c *census) take(h *Host) *walk {
	c.mu.Lock()
	if c.next == nil {
		c.next = &walk{}
	}
	w := c.next
	c.mu.Unlock()
	w.once.Do(func() {
		c.walking.Lock()
		defer c.walking.Unlock()
		time.Sleep(time.Until(c.rested)) // lets more askers in
		began := time.Now()
		c.mu.Lock()
		c.next = nil // who asks from here on is not served by this walk
		c.mu.Unlock()
		c.walk(h, w)
		if took := time.Since(began); took > longWalk {
			c.rested = began.Add(3 * took)
		}
	})
	return w
}

// walk looks at every child of ours that we did not fork.
func (c *census) walk(h *Host, w *walk) {
	known, ended := map[life]identity{}, map[life]bool{}
	for _, pid := range h.strays() {
		if h.registered(pid) { // it was being forked
			continue
		}
		st, err := readStat(pid)
		if err != nil {
			w.unsure = append(w.unsure, orphan{})
			continue
		}
		id := c.known[st.life()]
		if st.dead() {
			ended[st.life()] = true
			if !c.ended[st.life()] {
				w.unsure = append(w.unsure, orphan{st, id})
			}
			continue
		}
		if id.id == "" {
			id, _ = readIdentity(pid) // not readable: told by its session
		}
		if id.id == "" && st.noEnv {
			w.unsure = append(w.unsure, orphan{st, id})
		}
		known[st.life()] = id
		w.alive = append(w.alive, orphan{st, id})
	}
	c.known, c.ended = known, ended
}

// strays lists the children of ours that we did not fork, zombies too. The kernel's
// list skips some if others are reaped while it is read, hence the lock.
func (h *Host) strays() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(h.orphans.adopted(), func(pid int) bool { return h.children[pid] != nil || h.awaited[pid] })
}
