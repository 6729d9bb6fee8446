package proc

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// descriptorsOf counts the descriptors of each thread.
func descriptorsOf(t *testing.T) map[string]int {
	t.Helper()
	threads, err := readNames("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, id := range threads {
		if fds, err := readNames("/proc/self/task/" + id + "/fd"); err == nil { // else it has ended
			counts[id] = len(fds)
		}
	}
	return counts
}

// TestTheThreadThatForksHoldsNextToNothing counts what each fork copies and each exec closes,
// and that nothing gathers there.
func TestTheThreadThatForksHoldsNextToNothing(t *testing.T) {
	for range 300 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
	}
	h := newHost(t)
	for i := range fewChildren + 20 {
		s := childSpec("wait", "")
		s.Name = "svc" + strconv.Itoa(i)
		startReady(t, h, s)
	}
	const few = 20
	least := 300
	for _, n := range descriptorsOf(t) {
		least = min(least, n)
	}
	if least > few {
		t.Errorf("the thread that forks has %d descriptors, at most %d wanted", least, few)
	}
}

// TestGoRunsOnAThreadWithItsOwnDescriptors has the runtime do there what it does on any thread:
// collect garbage, which polls, and wake the thread that waits for timers. What the thread has
// is looked at from outside: package os notes what a test opens in a file that is not there.
func TestGoRunsOnAThreadWithItsOwnDescriptors(t *testing.T) {
	f, err := newForker(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(f.socket[:])
	type thread struct {
		id, own  int
		err, ran error
	}
	ready, over := make(chan thread), make(chan struct{})
	defer close(over)
	onAnotherThread(func() {
		is := thread{id: unix.Gettid(), err: f.standAlone()}
		for range 50 {
			runtime.GC()
			woken := make(chan struct{})
			time.AfterFunc(time.Microsecond, func() { close(woken) })
			<-woken
		}
		is.own, is.ran = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		ready <- is
		<-over
	})
	is := <-ready
	if is.err != nil || is.ran != nil {
		t.Fatal(is.err, is.ran)
	}
	its := "/proc/self/task/" + strconv.Itoa(is.id) + "/fd"
	if names, err := readNames(its); err != nil || len(names) > 20 || !slices.Contains(names, strconv.Itoa(is.own)) {
		t.Errorf("descriptors %v, %v: few wanted, and %d among them", names, err, is.own)
	}
	if to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(is.own)); err == nil && to == os.DevNull {
		t.Errorf("descriptor %d is everybody's", is.own)
	}
}

// TestAStartIsKnownAsTheKernelTellsIt has processes started at any time within a tick.
func TestAStartIsKnownAsTheKernelTellsIt(t *testing.T) {
	h := newHost(t)
	for i := range 50 {
		s := childSpec("wait", "")
		s.Name = "svc" + strconv.Itoa(i)
		p := start(t, h, s)
		if st, err := readStat(p.Pid()); err != nil || st.start != p.main.start {
			t.Errorf("it started at %d, %v; known is %d", st.start, err, p.main.start)
		}
	}
}
