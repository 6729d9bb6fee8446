package proc

import (
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit is how a main process ended.
type Exit struct {
	Code      int            // -1 where a signal ended it
	Signal    syscall.Signal // 0: none
	OOMKilled bool           // the kernel killed it, or what it had started, for want of memory
	Known     bool           // false: it ended, but its status went to somebody else
	At        time.Time
}

// exitOf returns the Exit of a wait status.
func exitOf(ws syscall.WaitStatus, at time.Time) Exit {
	e := Exit{Code: -1, Known: true, At: at}
	if ws.Signaled() {
		e.Signal = ws.Signal()
	} else {
		e.Code = ws.ExitStatus()
	}
	return e
}

// String says how it ended: "exit 3", "SIGKILL", "SIGKILL, out of memory".
func (e Exit) String() string {
	text := "exit " + strconv.Itoa(e.Code)
	switch {
	case !e.Known:
		return "exit unknown"
	case e.Signal != 0:
		text = SignalName(e.Signal)
	}
	if e.OOMKilled {
		text += ", out of memory"
	}
	return text
}

// SignalName returns SIGTERM for SIGTERM; one without a name is called by its number.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(sig))
}

// SignalNamed is the signal that SignalName names so, 0 if there is none.
func SignalNamed(name string) syscall.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "signal "))
	return syscall.Signal(n)
}
