package proc

import (
	"os"
	"syscall"
	"time"
)

// ServiceSpec is how one service is run, complete and checked; every path in it
// is absolute. What differs from one incarnation to the next is not here.
type ServiceSpec struct {
	Name string
	// Command is the argument vector; ${BLACKHOLE_…} in it is expanded per
	// incarnation, every other dollar was dealt with by the configuration.
	Command    []string
	Inherit    Inherit
	EnvFile    []EnvVar // read from env_file, in its order
	Env        []EnvVar
	WorkingDir string // "": bhnode's own
	User       string // "": bhnode's own
	Group      string // "": the user's
	DataDir    string
	LogLevel   string
	UnixSocket string // "": none
	TCPPort    int    // 0: none
	// Config is the service's rendered `config:` (YAML), nil: none.
	Config []byte
	// Peers are the dependencies, for BLACKHOLE_SOCKET_<DEPENDENCY> and its port.
	Peers      []Peer
	StopSignal syscall.Signal
	// StopGrace is how long its remains get to end by themselves when the next bhnode
	// finds them, 10 s at most; 0: that much.
	StopGrace time.Duration
	// SuccessCodes and SuccessSignals end it normally, besides code 0.
	SuccessCodes   []int
	SuccessSignals []syscall.Signal
	Hooks          Hooks
	Probe          ProbeSpec
	Limits         Limits
	// Nice, OOMScoreAdj and Umask are set before its program is run; nil: as bhnode's own.
	Nice        *int
	OOMScoreAdj *int
	Umask       *os.FileMode
	// NoNewPrivileges has the kernel ignore the set-user-ID bits of all it runs.
	NoNewPrivileges bool
	// Capabilities are all that it and what it starts can ever have, by their names
	// (CAP_NET_BIND_SERVICE); nil: what its user has.
	Capabilities *[]string
}

// EnvVar is one variable of an environment.
type EnvVar struct{ Name, Value string }

// Inherit says which of bhnode's own variables a service gets: all of them, or
// those named.
type Inherit struct {
	All   bool
	Names []string
}

// Peer is where a dependency is reached.
type Peer struct {
	Name       string
	UnixSocket string
	TCPPort    int
}

// Hooks are commands run before a start and after an end, each a list of
// argument vectors that run one after the other.
type Hooks struct {
	PreStart [][]string
	PostStop [][]string
	Timeout  time.Duration
}

// Limits are what a service may use; zero means no limit.
type Limits struct {
	CPUPercent int
	MemoryMB   int
	IOWeight   int
	OpenFiles  int
	Processes  int
	Required   bool
}

// ProbeType is the kind of a health check.
type ProbeType string

// The kinds of health checks.
const (
	ProbeNone   ProbeType = "none"
	ProbeGRPC   ProbeType = "grpc"
	ProbeHTTP   ProbeType = "http"
	ProbeTCP    ProbeType = "tcp"
	ProbeExec   ProbeType = "exec"
	ProbeNotify ProbeType = "notify"
	ProbeLog    ProbeType = "log"
)

// ProbeSpec is what one check does. ${BLACKHOLE_…} in Target and Argv is expanded
// per incarnation.
type ProbeSpec struct {
	Type    ProbeType
	Target  string   // grpc, tcp: unix:PATH or HOST:PORT; http: URL; log: regular expression
	Argv    []string // exec
	Timeout time.Duration
}

// Repeats tells whether the check can be made at any time: readiness that a program
// announces is told once.
func (p *ProbeSpec) Repeats() bool {
	switch p.Type {
	case ProbeGRPC, ProbeHTTP, ProbeTCP, ProbeExec:
		return true
	case ProbeNone, ProbeNotify, ProbeLog:
	}
	return false
}
