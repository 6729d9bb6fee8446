package metrics

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves /metrics, and for load balancers and orchestrators, as Kubernetes has
// them, /livez (the root supervisor answers), /readyz (and the node has come up) and
// /healthz (and every wanted service is healthy): 200 or 503, with ?verbose each check on a
// line of its own, with ?exclude=NAME one left out, as JSON to who accepts that.
func (m *Metrics) Handler(look Look) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.gatherer(look), promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8, Timeout: 4 * lookTime,
	}))
	for path, checks := range map[string]func(*Snapshot) []check{
		"livez":   func(*Snapshot) []check { return nil },
		"readyz":  readyChecks,
		"healthz": func(s *Snapshot) []check { return append(readyChecks(s), healthChecks(s)...) },
	} {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, r *http.Request) { answer(w, r, look, path, checks) })
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "/metrics\n/livez\n/readyz\n/healthz") // to who may have gone
	})
	return mux
}

// gatherer has what was counted and what a look finds.
func (m *Metrics) gatherer(look Look) prometheus.Gatherer {
	now := prometheus.NewRegistry()
	now.MustRegister(&collector{look, m.opts.Compat})
	return prometheus.Gatherers{now, m.registry} // a look makes counters
}

// check is one condition.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

func readyChecks(s *Snapshot) []check {
	if s == nil {
		return nil
	}
	c := check{Name: "boot", OK: s.Ready}
	if !s.Ready {
		c.Why = "the node has not come up"
	}
	return []check{c}
}

func healthChecks(s *Snapshot) []check {
	if s == nil {
		return nil
	}
	var checks []check
	for i := range s.Services {
		if v := &s.Services[i]; v.Wanted {
			c := check{Name: v.Name, OK: v.Healthy}
			if !c.OK {
				c.Why = v.State
			}
			checks = append(checks, c)
		}
	}
	return checks
}

func answer(w http.ResponseWriter, r *http.Request, look Look, path string, of func(*Snapshot) []check) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	s, err := look(ctx)
	root := check{Name: "root", OK: err == nil}
	if err != nil {
		root.Why = err.Error()
	}
	query := r.URL.Query()
	checks := slices.DeleteFunc(append([]check{root}, of(s)...), func(c check) bool {
		return slices.Contains(query["exclude"], c.Name)
	})
	ok := !slices.ContainsFunc(checks, func(c check) bool { return !c.OK })
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(struct { // to who may have gone
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{ok, checks})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(report(path, ok, query.Has("verbose"), checks))) // as above
}

// report is what is said in words: what is wrong, with verbose everything.
func report(path string, ok, verbose bool, checks []check) string {
	var b strings.Builder
	for _, c := range checks {
		switch {
		case !c.OK:
			fmt.Fprintf(&b, "[-]%s failed: %s\n", c.Name, cmp.Or(c.Why, "unknown"))
		case verbose:
			fmt.Fprintf(&b, "[+]%s ok\n", c.Name)
		}
	}
	switch {
	case !ok:
		fmt.Fprintf(&b, "%s check failed\n", path)
	case verbose:
		fmt.Fprintf(&b, "%s check passed\n", path)
	default:
		return "ok\n"
	}
	return b.String()
}

// The times that a client has: nobody may hold a connection for nothing.
const (
	headerTime = 5 * time.Second
	answerTime = 30 * time.Second
	idleTime   = 2 * time.Minute
)

// Server returns what serves the handler. Its caller has it serve a listener, of which it
// sees to TLS, and shuts it down.
func (m *Metrics) Server(look Look) *http.Server {
	return &http.Server{
		Handler: m.Handler(look), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: 16 << 10,
	}
}
