package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func newProber(t *testing.T, spec ProbeSpec, o ProbeOptions) Prober {
	t.Helper()
	p, err := NewProber(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func wantGood(t *testing.T, p Prober) {
	t.Helper()
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v, want it good", err)
	}
}

func wantBad(t *testing.T, p Prober, text string) {
	t.Helper()
	err := p.Check(t.Context())
	for range 10 { // a machine that was late itself has learnt nothing
		if _, unknown := errors.AsType[*UnknownError](err); !unknown || !strings.Contains(err.Error(), "bhnode was late") {
			break
		}
		err = p.Check(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("Check() = %v, want an error with %q", err, text)
	}
	if _, ok := errors.AsType[*UnknownError](err); ok {
		t.Errorf("Check() = %v, want it bad, not unknown", err)
	}
}

func wantUnknown(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*UnknownError](err); !ok {
		t.Errorf("got %v, want an unknown verdict", err)
	}
}

// serveGRPC serves on lis until stop is called.
func serveGRPC(t *testing.T, lis net.Listener, register func(*grpc.Server)) (stop func()) {
	t.Helper()
	srv, done := grpc.NewServer(), make(chan struct{})
	register(srv)
	go func() { defer close(done); _ = srv.Serve(lis) }()
	return func() { srv.Stop(); <-done }
}

func listenOn(t *testing.T, network, address string) net.Listener {
	t.Helper()
	lis, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	return lis
}

func TestGRPCProbe(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			address, target := "127.0.0.1:0", ""
			if network == "unix" {
				address = filepath.Join(socketDir(t), "a b%20?#.sock")
			}
			lis := listenOn(t, network, address)
			address = lis.Addr().String()
			target = address
			if network == "unix" {
				target = "unix:${S}"
			}
			h := health.NewServer()
			register := func(s *grpc.Server) { healthpb.RegisterHealthServer(s, h) }
			stop := serveGRPC(t, lis, register)
			p := newProber(t, ProbeSpec{Type: ProbeGRPC, Target: target, Timeout: 10 * time.Second},
				ProbeOptions{Expand: func(s string) string { return strings.ReplaceAll(s, "${S}", address) }})

			wantGood(t, p)
			wantGood(t, p)
			h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
			wantBad(t, p, "gRPC health is NOT_SERVING")
			h.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
			wantGood(t, p)
			stop()
			wantBad(t, p, "") // perhaps on the old connection
			wantBad(t, p, "connect")
			// Right after it is back: no back-off of gRPC's own.
			stop = serveGRPC(t, listenOn(t, network, address), register)
			wantGood(t, p)
			stop()
		})
	}
}

func TestGRPCProbeOfSomethingElse(t *testing.T) {
	t.Run("no health service", func(t *testing.T) {
		noLeaks(t)
		lis := listenOn(t, "tcp", "127.0.0.1:0")
		defer serveGRPC(t, lis, func(*grpc.Server) {})()
		p := newProber(t, ProbeSpec{Type: ProbeGRPC, Target: lis.Addr().String(), Timeout: 10 * time.Second}, ProbeOptions{})
		wantBad(t, p, "does not answer gRPC health checks")
	})
	t.Run("never answers", func(t *testing.T) {
		noLeaks(t)
		lis := listenOn(t, "unix", filepath.Join(socketDir(t), "s"))
		p := newProber(t, ProbeSpec{Type: ProbeGRPC, Target: "unix:" + lis.Addr().String(), Timeout: 200 * time.Millisecond}, ProbeOptions{})
		wantBad(t, p, "no answer within 200ms")
	})
	t.Run("closes at once", func(t *testing.T) {
		noLeaks(t)
		lis := listenOn(t, "tcp", "127.0.0.1:0")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := lis.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		p := newProber(t, ProbeSpec{Type: ProbeGRPC, Target: lis.Addr().String(), Timeout: 10 * time.Second}, ProbeOptions{})
		wantBad(t, p, "gRPC Unavailable")
		lis.Close()
		<-done
	})
}

func TestHTTPProbe(t *testing.T) {
	noLeaks(t)
	mux := http.NewServeMux()
	for path, code := range map[string]int{"/ok": 200, "/none": 204, "/no": 404, "/down": 503} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/down", http.StatusFound) })
	hung := make(chan struct{})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-hung:
		}
	})
	srv, tlsSrv := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer srv.Close()
	defer tlsSrv.Close()
	defer close(hung)
	probe := func(url string, timeout time.Duration) Prober {
		return newProber(t, ProbeSpec{Type: ProbeHTTP, Target: url, Timeout: timeout}, ProbeOptions{})
	}
	for _, good := range []string{srv.URL + "/ok", srv.URL + "/none", srv.URL + "/away", tlsSrv.URL + "/ok"} {
		wantGood(t, probe(good, 10*time.Second))
	}
	wantBad(t, probe(srv.URL+"/no", 10*time.Second), "HTTP status 404 Not Found")
	wantBad(t, probe(srv.URL+"/down", 10*time.Second), "HTTP status 503 Service Unavailable")
	wantBad(t, probe(srv.URL+"/hang", 200*time.Millisecond), "no answer within 200ms")
	secret := strings.Replace(srv.URL, "http://", "http://user:hunter2@", 1)
	srv.Close()
	wantBad(t, probe(srv.URL, 10*time.Second), "connection refused")
	if err := probe(secret, 10*time.Second).Check(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Check() = %v, want an error without the password", err)
	}
}

func TestTCPProbe(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(socketDir(t), "s")
	unixLis, tcpLis := listenOn(t, "unix", path), listenOn(t, "tcp", "127.0.0.1:0")
	for _, target := range []string{"unix:" + path, tcpLis.Addr().String()} {
		wantGood(t, newProber(t, ProbeSpec{Type: ProbeTCP, Target: target, Timeout: 10 * time.Second}, ProbeOptions{}))
	}
	unixLis.Close()
	tcpLis.Close()
	wantBad(t, newProber(t, ProbeSpec{Type: ProbeTCP, Target: "unix:" + path, Timeout: 10 * time.Second}, ProbeOptions{}), "no such file")
	wantBad(t, newProber(t, ProbeSpec{Type: ProbeTCP, Target: tcpLis.Addr().String(), Timeout: 10 * time.Second}, ProbeOptions{}), "refused")
}

func TestExecProbe(t *testing.T) {
	var output string
	var result error
	var ran []string
	p := newProber(t, ProbeSpec{Type: ProbeExec, Argv: []string{"check", "${S}"}, Timeout: 10 * time.Second}, ProbeOptions{
		Expand: func(s string) string { return strings.ReplaceAll(s, "${S}", "/s") },
		Exec: func(_ context.Context, argv []string) (string, error) {
			ran = argv
			return output, result
		},
	})
	wantGood(t, p)
	if got := strings.Join(ran, " "); got != "check /s" {
		t.Errorf("ran %q, want %q", got, "check /s")
	}
	result = errors.New("exit 3")
	wantBad(t, p, "check: exit 3")
	output = "first\nno \xff database\n\n"
	wantBad(t, p, "check: exit 3: no \uFFFD database")
	output = strings.Repeat("x", 1000)
	wantBad(t, p, strings.Repeat("x", lastLineMax)+"…")
	result = &os.SyscallError{Syscall: "fork/exec", Err: syscall.EAGAIN}
	wantUnknown(t, p.Check(t.Context()))
}

func TestNotifyProbe(t *testing.T) {
	noLeaks(t)
	n := listenNotify(t)
	p := newProber(t, ProbeSpec{Type: ProbeNotify}, ProbeOptions{Notify: n})
	wantBad(t, p, "has not sent READY=1 yet")
	n.hear(1, "STATUS=loading")
	wantBad(t, p, "READY=1 yet: loading")
	sendNotify(t, n, "READY=1")
	awaitReady(t, n.Ready())
	wantGood(t, p)
}

func TestLogProbe(t *testing.T) {
	p := newProber(t, ProbeSpec{Type: ProbeLog, Target: `^ready on \d+$`}, ProbeOptions{})
	m, ok := p.(*LogMatch)
	if !ok {
		t.Fatalf("the prober is a %T, want a *LogMatch", p)
	}
	stdout, stderr := m.Observer(), m.Observer()
	stdout(Line{Data: []byte("not ready on 1")})
	stdout(Line{Data: []byte("ready "), Partial: true})
	stderr(Line{Data: []byte("on 80")}) // of another stream
	wantBad(t, p, "no line has matched")
	stdout(Line{Data: []byte("on 80")})
	stdout(Line{Data: []byte("ready on 81")})
	stdout(Line{Data: []byte("gone")})
	awaitReady(t, m.Ready())
	wantGood(t, p)
}

func TestNoProbe(t *testing.T) {
	wantGood(t, newProber(t, ProbeSpec{Type: ProbeNone}, ProbeOptions{}))
}

func TestNewProberRefuses(t *testing.T) {
	for _, spec := range []ProbeSpec{
		{Type: "ping"},
		{Type: ProbeGRPC, Target: "unix:"},
		{Type: ProbeGRPC, Target: "localhost"},
		{Type: ProbeTCP, Target: ""},
		{Type: ProbeHTTP, Target: "localhost:80"},
		{Type: ProbeHTTP, Target: "http://a b"},
		{Type: ProbeExec},
		{Type: ProbeExec, Argv: []string{"true"}},
		{Type: ProbeNotify},
		{Type: ProbeLog, Target: "("},
	} {
		if p, err := NewProber(spec, ProbeOptions{}); err == nil {
			t.Errorf("NewProber(%+v) = %T, want an error", spec, p)
		}
	}
}

func TestJudge(t *testing.T) {
	bad := errors.New("refused")
	connect := &net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: syscall.EAGAIN}}
	socket := &net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "socket", Err: syscall.EMFILE}}
	tests := map[string]struct {
		err, given error
		elapsed    time.Duration
		unknown    bool
		text       string
	}{
		"refused":                     {bad, nil, time.Millisecond, false, "refused"},
		"timed out":                   {context.DeadlineExceeded, nil, 3 * time.Second, false, "no answer within 3s: context deadline exceeded"},
		"timed out on a busy machine": {bad, nil, 3900 * time.Millisecond, false, "no answer within 3s: refused"},
		"we were stopped":             {context.DeadlineExceeded, nil, 20 * time.Second, true, "cannot check: bhnode was late: 20s instead of 3s"},
		"nobody wants to know":        {bad, context.Canceled, time.Second, true, "cannot check: context canceled"},
		"no descriptor":               {socket, nil, 0, true, "cannot check: dial: socket: too many open files"},
		"no memory":                   {fmt.Errorf("x: %w", syscall.ENOMEM), nil, 0, true, "cannot check: x: cannot allocate memory"},
		"no process":                  {&os.PathError{Op: "fork/exec", Path: "/x", Err: syscall.EAGAIN}, nil, 0, true, "cannot check: fork/exec /x: resource temporarily unavailable"},
		"its backlog is full":         {connect, nil, 0, false, "dial: connect: resource temporarily unavailable"},
		"unknown already":             {&UnknownError{bad}, nil, 0, true, "cannot check: refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &timedProber{timeout: 3 * time.Second}
			err := p.judge(tt.err, tt.given, tt.elapsed, tt.elapsed >= p.timeout)
			if err.Error() != tt.text {
				t.Errorf("judge() = %q, want %q", err, tt.text)
			}
			if u, ok := errors.AsType[*UnknownError](err); ok != tt.unknown || (ok && u.Unwrap() == nil) {
				t.Errorf("judge() = %v: unknown %v, want %v", err, ok, tt.unknown)
			}
		})
	}
}

func TestCheckGivenUp(t *testing.T) {
	noLeaks(t)
	lis := listenOn(t, "unix", filepath.Join(socketDir(t), "s"))
	p := newProber(t, ProbeSpec{Type: ProbeGRPC, Target: "unix:" + lis.Addr().String(), Timeout: time.Minute}, ProbeOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantUnknown(t, p.Check(ctx))
}

// A node without descriptors knows nothing about its services.
func TestCheckWithoutDescriptors(t *testing.T) {
	noLeaks(t)
	lis := listenOn(t, "unix", filepath.Join(socketDir(t), "s"))
	h := health.NewServer()
	defer serveGRPC(t, lis, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, h) })()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	target := "unix:" + lis.Addr().String()
	probers := []Prober{
		newProber(t, ProbeSpec{Type: ProbeGRPC, Target: target, Timeout: 10 * time.Second}, ProbeOptions{}),
		newProber(t, ProbeSpec{Type: ProbeTCP, Target: target, Timeout: 10 * time.Second}, ProbeOptions{}),
		newProber(t, ProbeSpec{Type: ProbeHTTP, Target: "http://127.0.0.1:1/", Timeout: 10 * time.Second}, ProbeOptions{}),
	}
	full := old
	full.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &full); err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 0, len(probers))
	for _, p := range probers {
		errs = append(errs, p.Check(t.Context()))
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for _, err := range errs {
		wantUnknown(t, err)
	}
	wantGood(t, probers[0])
}
