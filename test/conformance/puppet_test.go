package conformance

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// puppetArg makes the test binary a process that lives as a script says: its
// arguments are the script and how much longer everything takes.
const puppetArg = "-puppet"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == puppetArg {
		if err := puppet(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
	}
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(together)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// ends are the signals by which a puppet is told to end by itself, and why.
var ends = map[string]syscall.Signal{
	"normal": syscall.SIGUSR1, "crash": syscall.SIGUSR2, "shutdown": syscall.SIGHUP, "shutdown_term": syscall.SIGALRM,
	toldNormal: syscall.SIGWINCH, "killed": syscall.SIGKILL,
}

func puppet(script, scale string) error {
	n := &node{}
	if err := json.Unmarshal([]byte(script), n); err != nil {
		return err
	}
	by, err := strconv.Atoi(scale)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(path.Base(os.Getenv("BHNODE_ID")), 10, 64)
	if err != nil {
		return err
	}
	told := make(chan os.Signal, 1)
	on := n.OnStop
	if on.Ignore || on.DelayMS > 0 || on.Exit != "shutdown" { // else it dies of the signal
		signal.Notify(told, syscall.SIGTERM)
	}
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP, syscall.SIGALRM, syscall.SIGWINCH)
	a := n.attempt(number)
	time.Sleep(time.Duration(a.DelayMS*by) * time.Millisecond)
	if a.Result == "error" {
		os.Exit(codesOf["crash"])
	}
	if err := sayReady(); err != nil {
		return err
	}
	for {
		select {
		case sig := <-ending:
			for reason, by := range ends {
				if sig == by {
					os.Exit(codesOf[reason])
				}
			}
		case <-told:
			if on.Ignore {
				continue
			}
			code, sig := exitFor(n, on.Exit, true)
			time.Sleep(time.Duration(on.DelayMS*by) * time.Millisecond)
			if sig != 0 {
				_ = syscall.Kill(os.Getpid(), sig)
			}
			os.Exit(code)
		}
	}
}

func sayReady() error {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("READY=1"))
	return err
}
