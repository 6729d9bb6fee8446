package proc

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// noLeaks fails the test if it leaves goroutines behind.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := leaks(before); err != nil {
			t.Error(err)
		}
	})
}

// socketDir returns a directory whose name is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listenNotify(t *testing.T) *NotifySocket {
	t.Helper()
	n, err := ListenNotify(filepath.Join(socketDir(t), "notify.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return n
}

func sendNotify(t *testing.T, n *NotifySocket, messages ...string) {
	t.Helper()
	conn, err := net.Dial("unixgram", n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, m := range messages {
		if _, err := conn.Write([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitReady waits until c is closed.
func awaitReady(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("not ready within 10 s")
	}
}

func TestNotifyHears(t *testing.T) {
	tests := map[string]struct {
		messages []string
		status   string
	}{
		"ready alone":                {[]string{"READY=1"}, ""},
		"ready among others":         {[]string{"MAINPID=1\nREADY=1\nSTATUS=all well\n"}, "all well"},
		"the last status":            {[]string{"STATUS=one", "STATUS=two", "READY=1"}, "two"},
		"ready twice":                {[]string{"READY=1", "READY=1"}, ""},
		"what is not known":          {[]string{"WATCHDOG=1", "STOPPING=1", "READY=0", "X", "", "READY=1"}, ""},
		"text that is not UTF-8":     {[]string{"STATUS=\xff\nREADY=1"}, "\uFFFD"},
		"nothing of a long datagram": {[]string{"STATUS=" + strings.Repeat("x", notifyMax), "READY=1"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			n := listenNotify(t)
			sendNotify(t, n, tt.messages...)
			awaitReady(t, n.Ready())
			if got := n.Status(); got != tt.status {
				t.Errorf("Status() = %q, want %q", got, tt.status)
			}
		})
	}
}

func TestNotifyHearsOnlyWhomItMay(t *testing.T) {
	noLeaks(t)
	n := listenNotify(t)
	asked := make(chan int, 2)
	n.SenderOK(func(pid int) bool { asked <- pid; return false })
	sendNotify(t, n, "READY=1")
	if got := <-asked; got != os.Getpid() {
		t.Errorf("the sender is pid %d, want %d", got, os.Getpid())
	}
	n.SenderOK(func(pid int) bool { return pid == os.Getpid() })
	select {
	case <-n.Ready():
		t.Error("ready by a message that was to be ignored")
	default:
	}
	sendNotify(t, n, "READY=1")
	awaitReady(t, n.Ready())
}

// A service may send descriptors (FDSTORE=1); they must not fill our table.
func TestNotifyReceivesNoDescriptors(t *testing.T) {
	noLeaks(t)
	n := listenNotify(t)
	to := &net.UnixAddr{Name: n.Path(), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.Path() + "2", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := conn.WriteMsgUnix([]byte("FDSTORE=1\nREADY=1"), syscall.UnixRights(int(w.Fd())), to); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, n.Ready())
	w.Close()
	if size, err := r.Read(make([]byte, 1)); size != 0 || err == nil {
		t.Errorf("the pipe is still open: read %d, %v", size, err)
	}
}

func TestNotifyPath(t *testing.T) {
	t.Run("takes the place of a dead one's socket", func(t *testing.T) {
		noLeaks(t)
		path := filepath.Join(socketDir(t), "n")
		dead, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		dead.Close()
		n, err := ListenNotify(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := n.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	t.Run("never removes a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "n")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := ListenNotify(path); err == nil {
			n.Close()
			t.Fatal("made a socket in the place of a file")
		}
	})
	t.Run("says what is wrong", func(t *testing.T) {
		if n, err := ListenNotify(filepath.Join(t.TempDir(), "no", "n")); err == nil {
			n.Close()
			t.Fatal("made a socket in no directory")
		}
	})
}
