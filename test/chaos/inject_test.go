package chaos

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// inject does one fault; it tells whether there was somebody to do it to.
func (n *node) inject(f fault) bool {
	n.redial()
	who := ""
	if len(f.who) > 0 {
		who = f.who[0]
	}
	switch f.kind {
	case "kill":
		return n.signal(who, syscall.SIGKILL)
	case "kill-all-below":
		hit := false
		for s := range n.p.below(n.p.supByName[who]) {
			hit = n.signal(s.name, syscall.SIGKILL) || hit
		}
		return hit
	case "kill-child":
		return n.signalAll(who, syscall.SIGKILL, func(p process) bool { return p.linger })
	case "freeze":
		return n.signal(who, syscall.SIGSTOP) && n.later(f.last, func() { n.signal(who, syscall.SIGCONT) })
	case "exit-0":
		return n.tell(who, "exit 0")
	case "exit-1":
		return n.tell(who, "exit 1")
	case "deaf":
		return n.tell(who, "deaf")
	case "ill":
		return n.tell(who, "ill") && n.later(f.last, func() { n.tell(who, "heal") })
	case "fail-starts":
		return replaceFile(filepath.Join(n.data(who), failFile), strconv.Itoa(f.n)) == nil && n.signal(who, syscall.SIGKILL)
	case "hang-start":
		path := filepath.Join(n.data(who), hangFile)
		return replaceFile(path, "") == nil && n.signal(who, syscall.SIGKILL) && n.later(f.last, func() { _ = os.Remove(path) })
	case "freeze-bhnode":
		return n.freeze(f.last)
	case "kill-bhnode":
		return n.killBhnode(f.last)
	case "upgrade":
		return n.become("upgrade", "--binary", binary)
	case "reload":
		return n.configure(f.n) && n.become("reload")
	}
	return n.command(f)
}

// become has bhnode become itself again, which takes a moment; it may be killed meanwhile.
func (n *node) become(args ...string) bool {
	n.becoming.Go(func() {
		_ = n.bhnode(args...).Run() // that it may be refused belongs to the game
		n.stale.Store(true)
	})
	return true
}

// later does the end of a fault when its time is over.
func (n *node) later(d time.Duration, do func()) bool {
	n.calls.Go(func() {
		pause(d)
		do()
	})
	return true
}

// command gives an operator's command; its answer is not waited for here.
func (n *node) command(f fault) bool {
	call := func(do func(context.Context) error) bool {
		n.calls.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = do(ctx) // that it may be refused belongs to the game
		})
		return true
	}
	api := n.api
	switch f.kind {
	case "signal":
		return call(func(ctx context.Context) error {
			_, err := api.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: f.who[0], Signal: int32(f.n)})
			return err
		})
	case "start", "start-below", "start-all":
		return call(func(ctx context.Context) error {
			_, err := api.StartServices(ctx, &bhnodev1.StartServicesRequest{Names: f.who, All: f.kind == "start-all", NoWait: true})
			return err
		})
	case "stop", "stop-below", "stop-only":
		return call(func(ctx context.Context) error {
			_, err := api.StopServices(ctx, &bhnodev1.StopServicesRequest{Names: f.who, Only: f.kind == "stop-only", NoWait: true})
			return err
		})
	case "restart", "restart-below", "restart-only":
		return call(func(ctx context.Context) error {
			_, err := api.RestartServices(ctx, &bhnodev1.RestartServicesRequest{Names: f.who, Only: f.kind == "restart-only", NoWait: true})
			return err
		})
	case "pause":
		return call(func(ctx context.Context) error {
			_, err := api.PauseSupervisor(ctx, &bhnodev1.PauseSupervisorRequest{Name: f.who[0]})
			return err
		})
	case "resume":
		return call(func(ctx context.Context) error {
			_, err := api.ResumeSupervisor(ctx, &bhnodev1.ResumeSupervisorRequest{Name: f.who[0]})
			return err
		})
	}
	panic("no fault is called " + f.kind)
}

// relieve ends all faults that go on.
func (n *node) relieve() {
	n.calls.Wait()
	n.becoming.Wait()
	n.redial()
	_ = n.cmd.Process.Signal(syscall.SIGCONT)
	for _, s := range n.p.services {
		_ = os.Remove(filepath.Join(n.data(s.name), failFile))
		_ = os.Remove(filepath.Join(n.data(s.name), hangFile))
		n.signalAll(s.name, syscall.SIGCONT, func(process) bool { return true })
		n.tell(s.name, "heal")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range n.p.supervisors {
		if _, err := n.api.ResumeSupervisor(ctx, &bhnodev1.ResumeSupervisorRequest{Name: s.name}); err != nil {
			n.fault("a supervisor can be resumed", "%s: %v", s.name, err)
		}
	}
}
