package host

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
)

// defaultDrain is shorter than the default grace of a service, so that a host that
// is ordered to stop ends by itself.
const defaultDrain = 10 * time.Second

// Options say who a service is, where it answers and what it needs.
type Options struct {
	// Name is the service's name, in its log lines.
	Name string
	// Socket is the path of the unix socket; "" is none.
	Socket string
	// Port is the TCP port on the loopback interface; 0 is none.
	Port int
	// Dependencies are what has to answer SERVING before the service does.
	Dependencies []Dependency
	// Register adds the service's own gRPC services; it is called once for each
	// server, the socket's and the port's. It may be nil.
	Register func(*grpc.Server)
	// Log is the logger; the zero value is silent.
	Log zerolog.Logger
	// Level is that of Log, so that bhnode can have it log all; nil: it cannot.
	Level *Level
	// DrainTimeout is how long begun calls may take once the service is ordered to
	// stop; 0 is 10 s.
	DrainTimeout time.Duration
}

// Dependency is another service that answers gRPC health. Its socket is preferred
// where it has both.
type Dependency struct {
	Name   string
	Socket string // "": none
	Port   int    // 0: none; on the loopback interface
}

// FromEnv returns the options that bhnode gives a service through its environment
// (BLACKHOLE_SERVICE, _SOCKET, _PORT, _LOG_LEVEL and those of its dependencies),
// with a logger on out.
func FromEnv(environ []string, out io.Writer) (Options, error) {
	vars := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		vars[name] = value
	}
	o := Options{Name: vars["BLACKHOLE_SERVICE"], Socket: vars["BLACKHOLE_SOCKET"]}
	var err error
	if port := vars["BLACKHOLE_PORT"]; port != "" {
		if o.Port, err = parsePort("BLACKHOLE_PORT", port); err != nil {
			return Options{}, err
		}
	}
	if o.Dependencies, err = DependenciesFromEnv(environ); err != nil {
		return Options{}, err
	}
	level, err := parseLevel(vars["BLACKHOLE_LOG_LEVEL"])
	if err != nil {
		return Options{}, err
	}
	o.Level = newLevel(level)
	o.Log = newLogger(out, o.Name).Hook(o.Level)
	return o, nil
}

// DependenciesFromEnv returns the dependencies that BLACKHOLE_SOCKET_<DEPENDENCY> and
// BLACKHOLE_PORT_<DEPENDENCY> name, in the order of their names, which come in lower
// case.
func DependenciesFromEnv(environ []string) ([]Dependency, error) {
	found := map[string]Dependency{}
	for _, e := range environ {
		variable, value, _ := strings.Cut(e, "=")
		if value == "" {
			continue
		}
		if name, ok := strings.CutPrefix(variable, "BLACKHOLE_SOCKET_"); ok {
			d := found[name]
			d.Socket = value
			found[name] = d
		} else if name, ok := strings.CutPrefix(variable, "BLACKHOLE_PORT_"); ok {
			port, err := parsePort(variable, value)
			if err != nil {
				return nil, err
			}
			d := found[name]
			d.Port = port
			found[name] = d
		}
	}
	deps := make([]Dependency, 0, len(found))
	for name, d := range found {
		d.Name = strings.ToLower(name)
		deps = append(deps, d)
	}
	slices.SortFunc(deps, func(a, b Dependency) int { return cmp.Compare(a.Name, b.Name) })
	return deps, nil
}

// NewLogger returns a logger that writes JSON lines with time, level, message and
// the service's name. An empty level is info.
func NewLogger(out io.Writer, service, level string) (zerolog.Logger, error) {
	parsed, err := parseLevel(level)
	if err != nil {
		return zerolog.Nop(), err
	}
	return newLogger(out, service).Level(parsed), nil
}

func parseLevel(text string) (zerolog.Level, error) {
	parsed, err := zerolog.ParseLevel(cmp.Or(strings.ToLower(text), "info"))
	if err != nil {
		return zerolog.NoLevel, fmt.Errorf("log level %q: not one of trace, debug, info, warn, error", text)
	}
	return parsed, nil
}

// newLogger returns one that logs all.
func newLogger(out io.Writer, service string) zerolog.Logger {
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str("time", time.Now().UTC().Format(time.RFC3339Nano))
	})
	return zerolog.New(out).Level(zerolog.TraceLevel).Hook(stamp).With().Str("service", service).Logger()
}

func parsePort(variable, value string) (int, error) {
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%s=%q: not a port number", variable, value)
	}
	return int(port), nil
}

// endpoint is where the dependency is dialled.
func (d Dependency) endpoint() (network, address string) {
	if d.Socket != "" {
		return "unix", d.Socket
	}
	return "tcp", loopback(d.Port)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
