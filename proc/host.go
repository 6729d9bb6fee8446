package proc

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/state"
)

// HostOptions are what a Host takes from the configuration of its node.
type HostOptions struct {
	Node        string
	RuntimeDir  string
	Group       string // may reach the services' sockets; for root only, "": nobody else
	KillOnDeath bool   // main processes die with bhnode
	Log         zerolog.Logger
	// Heir: this program was put in the place of another one by Become.
	Heir bool
}

// Host runs the processes of one node: it knows where they live, which are ours and
// who is alive.
type Host struct {
	opts     HostOptions
	instance string // random, of the runtime directory
	fresh    bool   // it was made just now: nobody can carry it
	boot     string // of the machine
	groupID  int    // -1: none
	lock     *os.File
	null     *os.File
	state    *state.Store
	slack    uintptr // of timers, in nanoseconds; 0: all threads have that which bhnode was born with
	orphans  census
	poller   *poller
	backend  backend
	bases    []string // directories of groups, of this life and of those not swept yet

	keeper   *keeper
	heirloom *heirloom // nil: no keeper was left behind
	heritage *heritage // nil: nothing was handed over
	heirs    chan succession
	forkers  *forkers
	births   sync.RWMutex  // read while a child is born, held while orphans are reaped
	deaf     atomic.Bool   // nobody is woken when a child ends
	served   chan struct{} // Serve has returned
	hookNo   atomic.Uint64
	closing  sync.Once
	waits    sync.WaitGroup // of what ends of children have begun
	opening  sync.Mutex     // of intakes

	mu       sync.Mutex
	awaited  map[int]bool        // main processes that may be adopted: their ends are not for us to take yet
	children map[int]*child      // every child of ours that was not reaped, orphans apart
	hooks    map[*child]struct{} // those of them that are hooks and exec probes
	services map[string]*Process // nil: about to be started
	groups   map[string]*group   // of those services, from before pre_start until Release
	intakes  map[string]*Intake  // of all services that have one
}

// OpenHost takes possession of the runtime directory, which it makes if need be, and
// has the orphans of this process's descendants re-parented to it. It returns a
// *LockedError where another bhnode runs.
func OpenHost(o HostOptions) (*Host, error) {
	h := &Host{
		opts:     o,
		groupID:  -1,
		heirs:    make(chan succession),
		awaited:  map[int]bool{},
		served:   make(chan struct{}),
		children: map[int]*child{},
		hooks:    map[*child]struct{}{},
		services: map[string]*Process{},
		groups:   map[string]*group{},
		intakes:  map[string]*Intake{},
	}
	h.keeper = newKeeper(h)
	if o.Heir {
		h.heritage = inherit()
	}
	// What we were born with is not for the services, nor for the keeper, which outlives us;
	// an old kernel leaves it open.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err := h.open(); err != nil {
		return nil, errors.Join(err, h.closeFiles())
	}
	for _, path := range h.state.Damaged() {
		o.Log.Warn().Str("file", path).Msg("damaged state was set aside")
	}
	return h, nil
}

func (h *Host) open() (err error) {
	if err := makeRuntimeDir(h.opts.RuntimeDir); err != nil {
		return err
	}
	if h.lock, err = h.lockDir(); err != nil {
		return err
	}
	if err := makeOwnDir(filepath.Join(h.opts.RuntimeDir, "svc"), 0o711); err != nil {
		return err
	}
	stateDir := filepath.Join(h.opts.RuntimeDir, "state")
	if err := makeOwnDir(stateDir, 0o700); err != nil {
		return err
	}
	if h.instance, h.fresh, err = instanceOf(h.opts.RuntimeDir); err != nil {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("cannot tell this boot of the machine from others: %w", err)
	}
	h.boot = strings.TrimSpace(string(boot))
	if h.null, err = os.Open(os.DevNull); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the reaper of orphans: %w", err)
	}
	if h.slack, err = calmMonitor(); err != nil {
		h.opts.Log.Debug().Err(err).Msg("the monitor of the runtime wakes as often as ever")
	}
	if h.poller, err = newPoller(); err != nil {
		return err
	}
	if h.forkers, err = newForkers(h); err != nil {
		return err
	}
	h.findGroup()
	h.backend = openBackend(h.instance, toUse)
	if err := h.recordBases(); err != nil {
		return err
	}
	if h.state, err = state.Open(stateDir); err != nil {
		return err
	}
	h.heirloom = findHeirloom(h.opts.RuntimeDir, h.instance)
	for _, r := range h.state.All() {
		if h.provable(r) {
			h.awaited[r.Pid] = true
		}
	}
	return nil
}

// lockDir takes the lock, or that of the program before.
func (h *Host) lockDir() (*os.File, error) {
	if h.heritage == nil {
		return lockDir(h.opts.RuntimeDir)
	}
	lock := h.takeLock(filepath.Join(h.opts.RuntimeDir, "lock"))
	if lock == nil {
		return nil, errNoHeritage
	}
	return lock, nil
}

// findGroup looks up the node's group. Without it nobody but root and the services'
// own users reach their sockets, which is no reason not to run.
func (h *Host) findGroup() {
	if h.opts.Group == "" || os.Geteuid() != 0 {
		return
	}
	g, err := user.LookupGroup(h.opts.Group)
	if err == nil {
		h.groupID, err = strconv.Atoi(g.Gid)
	}
	if err != nil {
		h.opts.Log.Warn().Err(err).Str("group", h.opts.Group).Msg("group of the node not found, sockets stay private")
	}
}

// Boot returns what tells this boot of the machine from others.
func (h *Host) Boot() string { return h.boot }

// State returns what is kept on disk.
func (h *Host) State() *state.Store { return h.state }

// Intake returns what keeps the output of a service safe on its way to its log. Without
// it, which the error says, a bhnode that is killed may lose what it has just read.
func (h *Host) Intake(service string) (*Intake, error) {
	h.opening.Lock() // mu is not held while the disk is waited for
	defer h.opening.Unlock()
	h.mu.Lock()
	in := h.intakes[service]
	h.mu.Unlock()
	if in != nil {
		return in, nil
	}
	in, err := openIntake(filepath.Join(h.opts.RuntimeDir, "state", "intake"), service)
	if err != nil {
		return nil, fmt.Errorf("the output of %s cannot be kept safe: %w", service, err)
	}
	h.mu.Lock()
	h.intakes[service] = in
	h.mu.Unlock()
	return in, nil
}

// Lookup returns the incarnation of a service that was started and not yet released,
// nil if there is none.
func (h *Host) Lookup(service string) *Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.services[service]
}

// Close gives the runtime directory back and ends every goroutine of h, after Serve
// has returned. Processes that still run are left to themselves.
func (h *Host) Close() (err error) {
	h.closing.Do(func() {
		h.keeper.end()
		stopped := h.poller.stop() // wakes nobody from here on
		h.waits.Wait()
		h.mu.Lock()
		alive := slices.Collect(maps.Values(h.children))
		h.mu.Unlock()
		for _, c := range alive {
			c.drop()
		}
		err = errors.Join(stopped, h.closeFiles())
	})
	return err
}

func (h *Host) closeFiles() error {
	var errs []error
	if h.backend != nil {
		for _, base := range h.backend.bases() {
			_ = removeGroups(base) // what still runs keeps its own
		}
	}
	for _, in := range h.intakes {
		errs = append(errs, in.discard())
	}
	for _, f := range []*os.File{h.null, h.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if h.state != nil {
		errs = append(errs, h.state.Close())
	}
	h.orphans.own.close()
	if h.forkers != nil {
		h.forkers.close()
	}
	if h.poller != nil {
		errs = append(errs, h.poller.close())
	}
	return errors.Join(errs...)
}

// idOf returns the BHNODE_ID of an incarnation.
func (h *Host) idOf(service string, incarnation uint64) string {
	return h.opts.Node + "/" + service + "/" + strconv.FormatUint(incarnation, 10)
}

// serviceDir is where a service's socket and rendered config live.
func (h *Host) serviceDir(service string) string {
	return filepath.Join(h.opts.RuntimeDir, "svc", service)
}

// claim reserves a service for one start; false says that it is not over.
func (h *Host) claim(service string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, taken := h.services[service]; taken {
		return false
	}
	h.services[service] = nil
	return true
}

// settle puts what became of a claim in its place; nil gives it up.
func (h *Host) settle(service string, p *Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p == nil {
		delete(h.services, service)
	} else {
		h.services[service] = p
	}
}

// keepGroup has the hooks of a service run in its group.
func (h *Host) keepGroup(service string, g *group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups[service] = g
}

// groupOf returns the group of a service that was started and not yet released.
func (h *Host) groupOf(service string) *group {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.groups[service]
}

// dropGroup gives up the group of an incarnation in which nothing lives.
func (h *Host) dropGroup(p *Process) {
	h.mu.Lock()
	delete(h.groups, p.service)
	h.mu.Unlock()
	h.warn(p.service, p.group.remove(), "group not removed")
}

// warn logs trouble that stops nobody.
func (h *Host) warn(service string, err error, what string) {
	if err != nil {
		h.opts.Log.Warn().Err(err).Str("service", service).Msg(what)
	}
}
