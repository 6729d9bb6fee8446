package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal; what is printed on it is collected.
type terminal struct {
	*os.File // the side of the program

	master *os.File
	mu     sync.Mutex
	text   strings.Builder
	more   chan struct{}
	ended  chan struct{}
}

func newTerminal(t *testing.T, width, height uint16) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
	term := &terminal{File: slave, master: master, more: make(chan struct{}, 1), ended: make(chan struct{})}
	go term.collect()
	t.Cleanup(func() {
		_ = slave.Close()
		<-term.ended
		_ = master.Close()
	})
	return term
}

func (term *terminal) collect() {
	defer close(term.ended)
	buf := make([]byte, 4096)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.text.Write(buf[:n])
		term.mu.Unlock()
		select {
		case term.more <- struct{}{}:
		default:
		}
		if err != nil {
			return // EIO: the other side is closed
		}
	}
}

func (term *terminal) String() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return strings.ReplaceAll(term.text.String(), "\r\n", "\n")
}

// waitFor returns once text was printed.
func (term *terminal) waitFor(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		if strings.Contains(term.String(), text) {
			return
		}
		select {
		case <-term.more:
		case <-deadline:
			t.Fatalf("%q was not printed, but %q", text, term.String())
		}
	}
}

// finish closes the program's side and returns all that was printed.
func (term *terminal) finish() string {
	_ = term.Close()
	<-term.ended
	return term.String()
}

var _ io.Writer = (*terminal)(nil)
