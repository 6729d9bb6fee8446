package proc

import (
	"os"
	"sync"
)

// orphan is a child of ours that we did not fork: its own parent has died.
type orphan struct {
	procStat
	id identity
}

// census lists the orphans. A thousand services that ask at once are answered by a few
// walks: each asker gets the first one that begins after it asked.
type census struct {
	walking sync.Mutex

	mu    sync.Mutex
	next  *walk
	known map[life]identity // as first seen: a program may overwrite its environment
}

type walk struct {
	once    sync.Once
	orphans []orphan
}

func (c *census) take(h *Host) []orphan {
	c.mu.Lock()
	if c.next == nil {
		c.next = &walk{}
	}
	w := c.next
	c.mu.Unlock()
	w.once.Do(func() {
		c.walking.Lock()
		defer c.walking.Unlock()
		c.mu.Lock()
		c.next = nil // who asks from here on is not served by this walk
		c.mu.Unlock()
		w.orphans, c.known = h.walk(c.known)
	})
	return w.orphans
}

// walk looks at every child of ours that is alive and was not forked by us.
func (h *Host) walk(known map[life]identity) ([]orphan, map[life]identity) {
	var orphans []orphan
	still := map[life]identity{}
	for _, pid := range childrenOf(os.Getpid()) {
		if h.registered(pid) {
			continue
		}
		st, err := readStat(pid)
		if err != nil || st.dead() {
			continue
		}
		id, ok := known[st.life()]
		if !ok || id.id == "" {
			id, _ = readIdentity(pid) // not readable: told by its session
		}
		still[st.life()] = id
		orphans = append(orphans, orphan{st, id})
	}
	return orphans, still
}
