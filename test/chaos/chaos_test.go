package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// round is how many faults come between two rests.
	round = 30
	// aside is how many events around a violation are shown.
	aside = 14
	// each is how many violations of one rule are shown.
	each = 3
	// tail is how many of the last faults are shown.
	tail = 40
)

// TestChaos runs FAULTS faults of SEED against a node; without the two, a few of a
// fixed seed.
func TestChaos(t *testing.T) {
	seed, faults := number(t, "SEED", 1), int(number(t, "FAULTS", round))
	if os.Getenv("SEED") == "" && os.Getenv("FAULTS") != "" {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("SEED=%d FAULTS=%d", seed, faults)
	r := rand.New(rand.NewPCG(seed, 0))
	p := newPlan(r)
	c := &campaign{seed: seed, schedule: newSchedule(r, p, faults), quiet: r.IntN(1 + faults/round)}
	for range 1 + faults/round {
		c.linger = append(c.linger, time.Duration(r.IntN(2000))*time.Millisecond)
	}
	c.node = newNode(t, p)
	c.run()
	c.report()
}

func number(t *testing.T, name string, fallback uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// campaign is one run of a schedule.
type campaign struct {
	*node
	seed     uint64
	schedule []fault
	done     int
	missed   int
	begun    time.Time
	log      []string        // what was done
	linger   []time.Duration // what comes of the faults gets so long, round by round
	quiet    int             // the round after which bhnode is frozen while all is well
}

func (c *campaign) run() {
	c.begun = time.Now()
	c.await("end of the boot", func(m *model) bool {
		for _, e := range m.events {
			if e.Type == "node.ready" {
				return true
			}
		}
		return false
	})
	var at footprint
	if !c.settle(true) {
		return
	}
	c.census(&at)
	stop := c.patrol()
	defer stop()
	for i := 0; c.done < len(c.schedule) && c.innocent(); i++ {
		for range min(round, len(c.schedule)-c.done) {
			c.next()
		}
		pause(c.linger[i%len(c.linger)])
		c.note("relieved")
		c.relieve()
		if !c.settle(false) {
			return
		}
		c.note("all started")
		c.startAll()
		if !c.settle(true) {
			return
		}
		c.census(&at)
		c.witness()
		if i == c.quiet {
			c.freezeInPeace()
		}
	}
	stop()
	c.note("shut down")
	c.shutDown()
	c.witness()
}

// next does the next fault of the schedule.
func (c *campaign) next() {
	f := c.schedule[c.done]
	pause(f.wait)
	hit := c.inject(f)
	c.done++
	text := f.String()
	if !hit {
		c.missed++
		text += " (nobody there)"
	}
	c.note(text)
}

func (c *campaign) note(text string) {
	c.log = append(c.log, fmt.Sprintf("%s %3d %s", time.Now().UTC().Format("05.000"), c.done, text))
}

// patrol looks at the machine all the time, until the function that it returns is
// called.
func (c *campaign) patrol() func() {
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		again := time.NewTicker(200 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				if text := twoLives(c.instance); text != "" {
					c.fault("at most one life at a time", "%s", text)
				}
			case <-over:
				return
			}
		}
	}()
	return func() {
		select {
		case <-gone:
		default:
			close(over)
			<-gone
		}
	}
}

// freezeInPeace: bhnode that does not run for some seconds restarts nothing then.
func (c *campaign) freezeInPeace() {
	c.model.mu.Lock()
	before := len(c.model.events)
	c.model.mu.Unlock()
	c.note("bhnode frozen in peace for 5s")
	c.freeze(5 * time.Second)
	pause(3 * time.Second)
	c.model.mu.Lock()
	defer c.model.mu.Unlock()
	for _, e := range c.model.events[before:] {
		c.model.blame("bhnode's own trouble is nobody's fault", e, "it was frozen, nothing else happened")
	}
}

func (c *campaign) innocent() bool {
	c.model.mu.Lock()
	defer c.model.mu.Unlock()
	return len(c.model.found) == 0
}

// report says how it went, and of violations all that helps to understand them.
func (c *campaign) report() {
	c.t.Helper()
	m := c.model
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := map[string]int{}
	for _, e := range m.events {
		counts[e.Type]++
	}
	c.t.Logf("%d faults, %d of them with nobody there, in %v: %d events; %d starts, %d exits, %d stops, %d restarts of groups, %d give-ups, %d failed",
		c.done, c.missed, time.Since(c.begun).Round(time.Second), len(m.events), counts["service.starting"], counts["service.exited"],
		counts["service.stopped"], counts["supervisor.restarting"], counts["supervisor.gave_up"], counts["service.failed"])
	if len(m.found) == 0 {
		return
	}
	c.t.Errorf("%d violations with SEED=%d FAULTS=%d", len(m.found), c.seed, len(c.schedule))
	c.t.Logf("what was done last:\n%s", strings.Join(c.log[max(0, len(c.log)-tail):], "\n"))
	shown := map[string]int{}
	for _, v := range m.found {
		if shown[v.rule]++; shown[v.rule] > each {
			continue
		}
		c.t.Logf("VIOLATED: %s\n%s\n%s", v.rule, v.text, m.around(v.at))
	}
}

// around shows an event, what led to it, and its neighbours.
func (m *model) around(e event) string {
	if e.Seq == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintln(&b, "causes:")
	for x := e; x.Seq != 0; x = m.event(x.Cause) {
		fmt.Fprintf(&b, "  %v\n", x)
		if x.Cause >= x.Seq {
			break
		}
	}
	fmt.Fprintln(&b, "around it:")
	for seq := max(1, int(e.Seq)-aside); seq <= min(len(m.events), int(e.Seq)+aside/2); seq++ {
		mark := "  "
		if uint64(seq) == e.Seq {
			mark = "> "
		}
		fmt.Fprintf(&b, "%s%v\n", mark, m.event(uint64(seq)))
	}
	return b.String()
}
