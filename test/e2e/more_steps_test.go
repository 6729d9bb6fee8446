package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// moreSteps are what the service program can do besides: output, and telling what it
// was given.
var moreSteps = map[string]func(arg string){
	// fill=N writes N bytes and no newline.
	"fill": func(n string) { write(bytes.Repeat([]byte("x"), number(n))) },
	// lines=N writes numbered lines as fast as it can, complaints=N to stderr.
	"lines":      func(n string) { numbered(os.Stdout, number(n)) },
	"complaints": func(n string) { numbered(os.Stderr, number(n)) },
	// pour=STREAM writes numbered lines in blocks without end, trickle=STREAM each by itself.
	"pour":    func(stream string) { endless(stream, 8<<10, 1, 5*time.Millisecond) },
	"trickle": func(stream string) { endless(stream, 0, 50, time.Millisecond) },
	// bytes writes what the argument is in base64.
	"bytes": func(text string) {
		raw, err := base64.StdEncoding.DecodeString(text)
		must(err)
		write(raw)
	},
	// open-files opens files until that is refused, and says how many it has.
	"open-files": func(string) {
		for n := 3; ; n++ { // besides the standard ones
			if _, err := os.Open(os.DevNull); err != nil {
				fmt.Println(n, errors.Unwrap(err))
				return
			}
		}
	},
	// stray is orphan, and what it leaves has no environment to say whose it is.
	"stray": func(list string) { abandon(list, []string{}) },
	// readonly-groups, enter-group and threaded-group are how a bhnode finds the groups
	// of the kernel; exec then becomes it.
	"readonly-groups": func(string) { remountGroups() },
	"enter-group":     enterGroup,
	// small-disk=DIR gives a directory a disk of 3 MiB; exec then becomes bhnode.
	"small-disk":     smallDisk,
	"threaded-group": func(dir string) { must(os.WriteFile(dir+"/cgroup.subtree_control", []byte("+cpu"), 0)) },
	// become makes it another user, and a group of that number.
	"become": func(id string) {
		must(syscall.Setgroups(nil))
		must(syscall.Setgid(number(id)))
		must(syscall.Setuid(number(id)))
	},
	// env prints its environment.
	"env": func(string) {
		for _, v := range slices.Sorted(slices.Values(os.Environ())) {
			fmt.Println(v)
		}
	},
	// self prints how it was started.
	"self": func(string) {
		dir, err := os.Getwd()
		must(err)
		stdin, err := os.Readlink("/proc/self/fd/0")
		must(err)
		session, _, errno := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
		if errno != 0 {
			must(errno)
		}
		umask := syscall.Umask(0)
		fmt.Printf("uid=%d gid=%d leader=%t dir=%s stdin=%s umask=%03o\n",
			os.Getuid(), os.Getgid(), int(session) == os.Getpid(), dir, stdin, umask)
	},
	// show prints a file; show=BLACKHOLE_CONFIG one that a variable names.
	"show": func(name string) {
		text, err := os.ReadFile(os.Getenv(name))
		must(err)
		write(text)
	},
	// own listens on the service's socket, in the mode a service's sockets have.
	"own": func(string) { go hold(listen()) },
	// bind listens on the service's port and its socket, and ends if one is taken.
	"bind": func(string) {
		if path := os.Getenv("BLACKHOLE_SOCKET"); path != "" {
			lis, err := net.Listen("unix", path)
			must(err)
			go hold(lis)
		}
		if port := os.Getenv("BLACKHOLE_PORT"); port != "" {
			lis, err := net.Listen("tcp", "127.0.0.1:"+port)
			must(err)
			go hold(lis)
		}
	},
	// report=N prints a line at every signal N.
	"report": func(n string) {
		got := make(chan os.Signal, 8)
		signal.Notify(got, syscall.Signal(number(n)))
		go func() {
			for sig := range got {
				fmt.Println("got", sig)
			}
		}()
	},
	// tcp-until=FILE accepts connections until there is the file.
	"tcp-until": func(file string) {
		lis := listen()
		go hold(lis)
		go func() {
			for range time.Tick(5 * time.Millisecond) {
				if exists(file) {
					must(lis.Close())
					return
				}
			}
		}()
	},
	// bare=STEP,STEP starts a process of its own that carries nothing by which its
	// node could know it.
	"bare": func(list string) {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		must(err)
		_, err = os.StartProcess(os.Args[0], append([]string{os.Args[0]}, strings.Split(list, ",")...), &os.ProcAttr{
			Env: []string{"E2E=bare"}, Files: []*os.File{null, null, null},
		})
		must(err)
	},
	// pid=FILE writes its own pid to a file.
	"pid": func(file string) {
		fresh := filepath.Join(filepath.Dir(file), "."+filepath.Base(file))
		must(os.WriteFile(fresh, fmt.Append(nil, os.Getpid()), 0o644))
		must(os.Rename(fresh, file))
	},
}

func write(p []byte) {
	_, err := os.Stdout.Write(p)
	must(err)
}

// hold keeps connections open.
func hold(lis net.Listener) {
	for {
		if _, err := lis.Accept(); err != nil {
			return
		}
	}
}

// numberedLine is the n-th of the lines that lines writes.
func numberedLine(n int) string {
	return fmt.Sprintf("line %08d of a service that has much to say, and says it in lines of a hundred bytes ..........", n)
}

// endless writes numbered lines, so many bytes at a time, and pauses after so many writes.
func endless(stream string, block, writes int, pause time.Duration) {
	f := os.Stdout
	if stream == "stderr" {
		f = os.Stderr
	}
	signal.Reset(syscall.SIGTERM)
	pace := time.NewTicker(pause)
	defer pace.Stop()
	var text []byte
	for n, done := 1, 0; ; n++ {
		text = fmt.Appendf(text, "%s line %d\n", stream, n)
		if len(text) < block {
			continue
		}
		_, err := f.Write(text)
		must(err)
		text = text[:0]
		if done++; done%writes == 0 {
			<-pace.C
		}
	}
}

func numbered(f *os.File, n int) {
	out := bufio.NewWriterSize(f, 16<<10)
	for i := range n {
		_, err := out.WriteString(numberedLine(i) + "\n")
		must(err)
	}
	must(out.Flush())
}
