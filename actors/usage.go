package actors

import (
	"sync"
	"time"

	"github.com/blackhole/bhnode/actors/metrics"
	"github.com/blackhole/bhnode/proc"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// gauge tells what an incarnation uses and what the kernel has counted of it. It reads
// files.
type gauge interface {
	Usage() (proc.Usage, error)
	Counters() proc.Counters
}

const (
	// shortest is how far apart two looks must be to tell a share of a processor.
	shortest = 200 * time.Millisecond
	// young is how long a life may have lasted at the first look for its share until then
	// to be that of now.
	young = 30 * time.Second
)

// tally adds up what the lives of one service use, one after the other.
type tally struct {
	mu          sync.Mutex
	incarnation uint64 // of what follows
	now         proc.Usage
	counts      proc.Counters
	connections *uint64
	percent     *float64
	since       time.Time     // when percent begins
	usedBy      time.Duration // processor time by then
	before      metrics.Totals
}

// take takes down what was found of a life that began at began. What comes late of an
// earlier one is known already.
func (t *tally) take(inc uint64, began time.Time, u proc.Usage, c proc.Counters) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if inc < t.incarnation || inc == t.incarnation && u.At.Before(t.now.At) {
		return
	}
	if inc > t.incarnation {
		t.before = t.totals()
		t.incarnation, t.now, t.counts, t.connections = inc, proc.Usage{}, proc.Counters{}, nil
		t.percent, t.since, t.usedBy = nil, time.Time{}, 0
		if u.At.Sub(began) < young {
			t.since = began
		}
	}
	over := u.At.Sub(t.since)
	if !t.since.IsZero() && over >= shortest {
		t.percent = new(100 * (u.CPU - t.usedBy).Seconds() / over.Seconds())
	}
	if t.since.IsZero() || over >= shortest {
		t.since, t.usedBy = u.At, u.CPU
	}
	t.now, t.counts = u, c
}

// totals are those of all lives.
func (t *tally) totals() metrics.Totals {
	sum := t.before
	sum.CPU += t.now.CPU
	sum.Read += t.now.Read
	sum.Written += t.now.Written
	sum.OOMKills += t.counts.OOMKills
	sum.Throttled += t.counts.Throttled
	return sum
}

// connect takes down how many connections the processes of the last look have.
func (t *tally) connect(of map[int]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := uint64(0)
	for _, pid := range t.now.Pids {
		n += of[pid]
	}
	t.connections = &n
}

// inUse is what the last look at a service has found.
type inUse struct {
	metrics.Sample
	read, written uint64
	pids          []int
}

// show returns what was found of a life, nil if nothing was, and the totals of all.
func (t *tally) show(inc uint64) (*inUse, metrics.Totals) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.totals()
	if inc != t.incarnation || len(t.now.Pids) == 0 {
		return nil, all
	}
	n := &t.now
	return &inUse{
		Sample: metrics.Sample{
			CPUPercent: t.percent, Memory: n.Memory, Virtual: n.Virtual, Threads: n.Threads, Files: n.OpenFiles, Connections: t.connections,
		},
		read: n.Read, written: n.Written, pids: n.Pids,
	}, all
}

// fillUsage writes what a service uses.
func fillUsage(out *bhnodev1.Service, u *inUse) {
	if u == nil {
		return
	}
	out.CpuPercent, out.Processes = u.CPUPercent, uint32(len(u.pids)) //nolint:gosec // they fit
	out.MemoryRssBytes, out.MemoryVmsBytes = &u.Memory, &u.Virtual
	out.Threads, out.OpenFiles = new(uint32(u.Threads)), new(uint32(u.Files)) //nolint:gosec // they fit
	if u.Connections != nil {
		out.Connections = new(uint32(*u.Connections)) //nolint:gosec // they fit
	}
	out.IoReadBytes, out.IoWriteBytes = &u.read, &u.written
}
