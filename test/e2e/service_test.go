package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// perform is the service program: it does its arguments, NAME or NAME=ARGUMENT,
// one after the other, then runs until SIGTERM and exits with 0.
func perform(args []string) {
	term := make(chan os.Signal, 8)
	signal.Notify(term, syscall.SIGTERM)
	for i, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if name == "exec" {
			must(syscall.Exec(args[i+1], args[i+1:], os.Environ()))
		}
		do := steps[name]
		if do == nil {
			do = moreSteps[name]
		}
		if do == nil {
			panic("no step is called " + name)
		}
		do(value)
	}
	<-term
	exit(0)
}

// steps are what the service program can do.
var steps = map[string]func(arg string){
	// run does nothing but run.
	"run": func(string) {},
	// exit ends it with a code.
	"exit": func(code string) { exit(number(code)) },
	// exit-if ends it with 1 if there is a file.
	"exit-if": func(file string) {
		if exists(file) {
			exit(1)
		}
	},
	// exit-unless ends it: with 1 if there is no file, else with 0.
	"exit-unless": func(file string) {
		if !exists(file) {
			exit(1)
		}
		exit(0)
	},
	// die ends it by a signal.
	"die": func(sig string) {
		_ = syscall.Kill(os.Getpid(), syscall.Signal(number(sig)))
		select {}
	},
	// fail-first=N:FILE ends the first N lives that name the file with 1.
	"fail-first": func(arg string) {
		n, file, _ := strings.Cut(arg, ":")
		if add(file, "start") <= number(n) {
			fmt.Println("cannot start yet")
			exit(1)
		}
	},
	// once=FILE goes on only in the first life that names the file; later ones run
	// until SIGTERM.
	"once": func(file string) {
		if add(file, "start") > 1 {
			awaitTerm()
		}
	},
	// note=FILE:TEXT adds a line to a file.
	"note": func(arg string) {
		file, text, _ := strings.Cut(arg, ":")
		add(file, text)
	},
	// until waits for a file.
	"until": func(file string) {
		for range time.Tick(5 * time.Millisecond) {
			if exists(file) {
				return
			}
		}
	},
	// wait takes its time.
	"wait": func(d string) { <-time.After(duration(d)) },
	// print writes a line.
	"print": func(text string) { fmt.Println(text) },
	// complain writes a line to stderr.
	"complain": func(text string) { fmt.Fprintln(os.Stderr, text) },
	// ignore has it pay no heed to SIGTERM.
	"ignore": func(string) { signal.Ignore(syscall.SIGTERM) },
	// slow=D has it take its time to end after SIGTERM.
	"slow": func(d string) {
		term := make(chan os.Signal, 1)
		signal.Reset(syscall.SIGTERM)
		signal.Notify(term, syscall.SIGTERM)
		go func() {
			<-term
			<-time.After(duration(d))
			exit(0)
		}()
	},
	// grpc, http and tcp answer health checks on the service's socket; not well
	// while there is the file.
	"grpc": func(sick string) { go serveGRPC(sick) },
	"http": func(sick string) { go serveHTTP(sick) },
	"tcp":  func(string) { go serveTCP() },
	// notify sends words to the notify socket.
	"notify": func(words string) { notify(words) },
	// child=STEP,STEP starts a process of its own that does those steps, with the
	// same pipes; session does so in a session of its own, orphan leaves it to init.
	"child":   func(list string) { spawn(list, false) },
	"session": func(list string) { spawn(list, true) },
	"orphan":  func(list string) { orphan(list) },
}

func exit(code int) { os.Exit(code) }

func awaitTerm() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	exit(0)
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	must(err)
	return d
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		exit(99)
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// add adds a line to a file and returns how many there are then.
func add(file, line string) int {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(err)
	_, err = f.WriteString(line + "\n")
	must(err)
	must(f.Close())
	text, err := os.ReadFile(file)
	must(err)
	return strings.Count(string(text), "\n")
}

// listen takes the place of a socket that an earlier life left.
func listen() net.Listener {
	path := os.Getenv("BLACKHOLE_SOCKET")
	if path == "" {
		lis, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("BLACKHOLE_PORT"))
		must(err)
		return lis
	}
	_ = os.Remove(path)
	lis, err := net.Listen("unix", path)
	must(err)
	return lis
}

// healthServer says NOT_SERVING while its file is there.
type healthServer struct {
	grpc_health_v1.UnimplementedHealthServer
	sick string
}

func (s healthServer) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	status := grpc_health_v1.HealthCheckResponse_SERVING
	if s.sick != "" && exists(s.sick) {
		status = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: status}, nil
}

func serveGRPC(sick string) {
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, healthServer{sick: sick})
	must(server.Serve(listen()))
}

func serveHTTP(sick string) {
	must(http.Serve(listen(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick != "" && exists(sick) {
			http.Error(w, "sick", http.StatusServiceUnavailable)
		}
	})))
}

func serveTCP() {
	lis := listen()
	for {
		conn, err := lis.Accept()
		must(err)
		must(conn.Close())
	}
}

func notify(words string) {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	must(err)
	_, err = conn.Write([]byte(words))
	must(err)
	must(conn.Close())
}

func spawn(list string, session bool) {
	cmd := exec.Command(os.Args[0], strings.Split(list, ",")...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	must(cmd.Start())
	go func() { _ = cmd.Wait() }()
}

// orphan has a process start one in a session of its own, and end.
func orphan(list string) { abandon(list, nil) }

// abandon does so with an environment, nil for its own.
func abandon(list string, env []string) {
	cmd := exec.Command(os.Args[0], "session="+list, "exit=0")
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, env
	must(cmd.Run())
}
