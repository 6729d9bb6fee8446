// The application of configs/webstack.yaml: it keeps notes in postgres and counts visits in
// redis. It speaks to both by their own command-line clients, as it is an example of what
// bhnode runs, not of how to use a database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long a client of a database may take.
const patience = 5 * time.Second

type app struct{ postgres, redis string }

func main() {
	var a app
	flag.StringVar(&a.postgres, "postgres", "", "directory of the socket of postgres")
	flag.StringVar(&a.redis, "redis", "", "socket of redis")
	listen := flag.String("listen", "", "address to listen on")
	flag.Parse()
	if dir, err := filepath.Abs(a.postgres); err == nil { // to psql another is the name of a host
		a.postgres = dir
	}
	if err := a.serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve answers until SIGTERM, and then those that wait for an answer.
func (a app) serve(address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /notes", a.list)
	mux.HandleFunc("POST /notes", a.add)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	fmt.Println("ready")
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return server.Shutdown(last)
}

// ask runs a client with what it is to be told.
func ask(ctx context.Context, stdin string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// sql runs a statement, with a text as :'text' in it.
func (a app) sql(ctx context.Context, text, statement string) (string, error) {
	return ask(ctx, statement, "psql", "-h", a.postgres, "-U", "web", "-d", "postgres", "-qtA", "-v", "ON_ERROR_STOP=1", "-v", "text="+text)
}

func (a app) healthz(w http.ResponseWriter, r *http.Request) {
	_, err := a.sql(r.Context(), "", "select 1")
	if err == nil {
		_, err = ask(r.Context(), "", "redis-cli", "-s", a.redis, "ping")
	}
	answer(w, "ok", err)
}

func (a app) list(w http.ResponseWriter, r *http.Request) {
	visits, err := ask(r.Context(), "", "redis-cli", "-s", a.redis, "incr", "visits")
	notes := ""
	if err == nil {
		notes, err = a.sql(r.Context(), "", "select text from notes order by id")
	}
	answer(w, "visit "+visits+"\n"+notes, err)
}

func (a app) add(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	if err == nil {
		_, err = a.sql(r.Context(), string(text), "insert into notes (text) values (:'text')")
	}
	answer(w, "kept", err)
}

func answer(w http.ResponseWriter, text string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, text) // to who may have gone
}
