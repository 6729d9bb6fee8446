package chaos

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// Files in the data directory of a service.
const (
	ctlFile  = "ctl"       // its socket for orders
	lockFile = "life"      // held by the one life there may be
	failFile = "fail"      // so many starts are still to fail
	hangFile = "hang"      // starts do not become healthy while it is there
	wellFile = "well"      // there while it is healthy
	sockFile = "h"         // where tcp and grpc checks connect
	doubles  = "../double" // what should never be written: two lives at once
)

// life is one life of a service.
type life struct {
	dir  string
	deaf bool
	well wellness
}

// wellness is how a kind of health check sees that the service is well.
type wellness interface{ set(well bool) error }

// serve is the service program: CHECK [once] [child=no|group|session].
func serve(args []string) {
	term := make(chan os.Signal, 8)
	signal.Notify(term, syscall.SIGTERM)
	l := &life{dir: os.Getenv("BLACKHOLE_DATA_DIR")}
	lock := l.claim()
	if l.failStart() {
		fmt.Println("this start fails, as ordered")
		os.Exit(1)
	}
	orders := l.listen()
	once := false
	for _, a := range args[1:] {
		switch name, value, _ := strings.Cut(a, "="); name {
		case "once":
			once = true
		case "child":
			if value != "no" {
				l.bear(lock, value)
			}
		}
	}
	if once {
		l.wait(50*time.Millisecond, term, orders)
		os.Exit(0)
	}
	l.well = newWellness(args[0], l.dir)
	for exists(filepath.Join(l.dir, hangFile)) {
		l.wait(20*time.Millisecond, term, orders)
	}
	must(l.well.set(true))
	for {
		l.wait(time.Hour, term, orders)
	}
}

// wait does what it is told for a time.
func (l *life) wait(d time.Duration, term <-chan os.Signal, orders <-chan string) {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return
		case <-term:
			if !l.deaf {
				os.Exit(0)
			}
		case o := <-orders:
			l.obey(o)
		}
	}
}

func (l *life) obey(order string) {
	word, arg, _ := strings.Cut(order, " ")
	switch word {
	case "exit":
		code, err := strconv.Atoi(arg)
		must(err)
		os.Exit(code)
	case "deaf":
		l.deaf = true
	case "ill", "heal":
		if l.well != nil {
			must(l.well.set(word == "heal"))
		}
	}
}

// claim takes the lock of the service for this life and all it leaves behind.
func (l *life) claim() *os.File {
	f, err := os.OpenFile(filepath.Join(l.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	must(err)
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		other := make([]byte, 200)
		n, _ := f.Read(other)
		l.report(fmt.Sprintf("%s (pid %d) began while %s was alive", os.Getenv("BHNODE_ID"), os.Getpid(), other[:n]))
	}
	must(f.Truncate(0))
	_, err = f.WriteAt([]byte(os.Getenv("BHNODE_ID")+" pid "+strconv.Itoa(os.Getpid())), 0)
	must(err)
	return f
}

func (l *life) report(text string) {
	f, err := os.OpenFile(filepath.Join(l.dir, doubles), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(err)
	_, err = f.WriteString(text + "\n")
	must(err)
	must(f.Close())
}

// failStart tells whether this start is to fail, and takes it off the count.
func (l *life) failStart() bool {
	path := filepath.Join(l.dir, failFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	must(err)
	n, err := strconv.Atoi(string(text))
	if err != nil || n <= 1 {
		_ = os.Remove(path)
	} else {
		_ = replaceFile(path, strconv.Itoa(n-1))
	}
	return err == nil
}

func (l *life) listen() <-chan string {
	path := filepath.Join(l.dir, ctlFile)
	_ = os.Remove(path)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(err)
	orders := make(chan string, 16)
	go func() {
		buf := make([]byte, 256)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			orders <- string(buf[:n])
		}
	}()
	return orders
}

// bear starts a process that outlives this one unless somebody ends it. It holds
// the lock too.
func (l *life) bear(lock *os.File, where string) {
	cmd := exec.Command(self0(), "linger", where)
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: where == "session"}
	must(cmd.Start())
	go func() { _ = cmd.Wait() }()
}

// linger is that process; it hears no SIGTERM.
func linger([]string) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	for range term {
	}
}

func newWellness(check, dir string) wellness {
	path := filepath.Join(dir, sockFile)
	switch check {
	case "tcp":
		return &listening{path: path}
	case "grpc":
		return newServing(path)
	case "exec":
		_ = os.Remove(filepath.Join(dir, wellFile))
		return flagged(filepath.Join(dir, wellFile))
	case "log":
		return said{}
	case "notify":
		return notified(os.Getenv("NOTIFY_SOCKET"))
	}
	return unseen{}
}

// listening is well while somebody can connect.
type listening struct {
	path     string
	listener net.Listener
}

func (w *listening) set(well bool) error {
	switch {
	case well && w.listener == nil:
		_ = os.Remove(w.path)
		listener, err := net.Listen("unix", w.path)
		if err != nil {
			return err
		}
		w.listener = listener
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_ = conn.Close()
			}
		}()
	case !well && w.listener != nil:
		listener := w.listener
		w.listener = nil
		return listener.Close()
	}
	return nil
}

// serving is well while gRPC health says so.
type serving struct{ *health.Server }

func newServing(path string) serving {
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	must(err)
	s := serving{health.NewServer()}
	s.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, s.Server)
	go func() { must(server.Serve(listener)) }()
	return s
}

func (w serving) set(well bool) error {
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if well {
		status = healthv1.HealthCheckResponse_SERVING
	}
	w.SetServingStatus("", status)
	return nil
}

// flagged is well while there is a file.
type flagged string

func (w flagged) set(well bool) error {
	if well {
		return os.WriteFile(string(w), nil, 0o600)
	}
	return os.Remove(string(w))
}

// said says once that it is well.
type said struct{}

func (said) set(well bool) error {
	if well {
		fmt.Println("ready to serve")
	}
	return nil
}

// notified tells the manager once.
type notified string

func (w notified) set(well bool) error {
	if !well {
		return nil
	}
	conn, err := net.Dial("unixgram", string(w))
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		return err
	}
	return conn.Close()
}

// unseen has no check.
type unseen struct{}

func (unseen) set(bool) error { return nil }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// replaceFile writes a file so that a reader sees the old or the new text.
func replaceFile(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func self0() string {
	path, err := os.Executable()
	must(err)
	return path
}

func must(err error) {
	if err != nil {
		fmt.Println("the service program cannot go on:", err)
		os.Exit(70)
	}
}
