package configs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// rootName is the name of the root supervisor.
const rootName = "root"

// Config is a complete and checked configuration.
type Config struct {
	Source  Source
	Node    Node
	Logs    Logs
	Control Control
	Metrics Metrics
	TLS     TLS
	Remote  Remote
	Access  []Access
	// Notify are the commands that tell of events.
	Notify []Announcement
	// Services are all of them in file order, disabled ones included.
	Services []Service
	// Tree is the root supervisor with the enabled services: first what `tree`
	// lists, then the rest in file order. Edges that `required: false` lets vanish
	// are gone.
	Tree supervision.SupervisorSpec
	// Warnings name what is configured and has no effect, since a limit can never be
	// reached.
	Warnings []string
	// PrivateDirs are the directories of the embedded default. They must be made
	// with mode 0700 before anything is put into them; nil with a file.
	PrivateDirs []string

	text    string            // as it was read
	root    *branch           // the tree as the file has it, disabled services included
	masked  map[string]string // what is shown instead of a value, by path
	files   map[string]string // what was read, by path
	origins map[string]pos    // where each value stands, by path
}

// Node is the node as a whole.
type Node struct {
	Name       string
	DataDir    string
	RuntimeDir string
	// Group may reach the services' sockets; "": none.
	Group string
	// BestEffort lets the rest run when a boot fails; otherwise it is rolled back.
	BestEffort bool
	// MaxParallelStarts is 0 for as many as the order allows.
	MaxParallelStarts int
	ShutdownTimeout   time.Duration
	// KillOnDaemonDeath ends the services when bhnode dies.
	KillOnDaemonDeath bool
}

// The formats of log files.
const (
	FormatJSON = "json"
	FormatRaw  = "raw"
)

// Logs is where and how the services' output is kept.
type Logs struct {
	Dir       string
	Format    string // FormatJSON or FormatRaw
	MaxSizeMB int    // MiB
	MaxFiles  int
	Compress  bool
	// Drop drops the oldest lines while the disk cannot keep up; otherwise the
	// service waits, BlockTimeout at most.
	Drop         bool
	BlockTimeout time.Duration
}

// Control is where the node is controlled from.
type Control struct {
	Socket     string
	SocketMode os.FileMode
	// Listen is an address and a port for whoever has a certificate; "": there is none.
	Listen string
}

// Metrics is what Prometheus and load balancers are told over HTTP.
type Metrics struct {
	// Listen is an address and a port; "": nothing is served.
	Listen string
	// Interval lies between two samples of what the services use.
	Interval time.Duration
	TLS      MetricsTLS
	// CompatNames adds the metric of the original plan that is against the naming rules.
	CompatNames bool
}

// MetricsTLS says who is talked to.
type MetricsTLS string

// The values of MetricsTLS.
const (
	TLSNone   MetricsTLS = "none"
	TLSServer MetricsTLS = "server" // we show a certificate
	TLSMutual MetricsTLS = "mutual" // and so does the client, of our CA
)

// TLS are the files of certificates; "": none.
type TLS struct{ CA, Cert, Key string }

// Service is one service: how it is run, watched and treated.
type Service struct {
	proc.ServiceSpec
	Enabled     bool
	BuiltIn     bool // bhnode's own, which the file does not name
	Description string
	Health      supervision.HealthSpec
	// DependsOn names the dependencies in effect, in the order of the file.
	DependsOn []string
	// Supervisor is the name of its supervisor.
	Supervisor string

	child   supervision.ChildSpec
	edges   []edge // as written
	envFile string
	config  *node
}

// Load reads, expands and checks a configuration. The error is Errors: all
// mistakes at once, in the order of the file.
func Load(src Source, getenv func(string) (string, bool)) (*Config, error) {
	m, err := thisMachine(getenv)
	if err != nil {
		return nil, Errors{{File: src.String(), Message: err.Error()}}
	}
	return load(src, m)
}

func load(src Source, m machine) (*Config, error) {
	d := &decoder{file: src.String(), machine: m, masked: map[string]string{}, origins: map[string]pos{}}
	if data, ok := d.read(src); ok {
		return d.decode(src, data)
	}
	return nil, inFileOrder(d.errs)
}

// decode turns the text of a configuration into values.
func (d *decoder) decode(src Source, data string) (*Config, error) {
	root := d.parse(data)
	if len(d.errs) > 0 && root == nil {
		return nil, inFileOrder(d.errs)
	}
	c := &Config{Source: src, masked: d.masked}
	if src.Embedded {
		c.PrivateDirs = []string{d.base, d.socketBase}
	}
	d.document(c, root)
	if len(d.errs) > 0 {
		return nil, inFileOrder(d.errs)
	}
	c.text, c.files, c.origins = data, d.machine.files.others(src.Path), d.origins
	return c, nil
}

func (d *decoder) parse(data string) *node {
	d.lines = strings.Split(data, "\n")
	return parseYAML(data, func(at pos, path, message, hint string) { d.fail(at, path, hint, "%s", message) })
}

// document reads the keys of the document and checks them together.
func (d *decoder) document(c *Config, doc *node) {
	if doc.kind == nullKind {
		d.fail(doc.pos, "", "write one with: bhnode config init", "the file is empty")
		return
	}
	top := d.object(doc, "")
	if doc.kind != mapKind {
		return
	}
	if v := top.integer("version", 1, 0, maxInt); v != 1 {
		top.fail("version", "", "this build reads version 1, not %d", v)
	}
	d.readNode(c, top.child("node"))
	d.readLogs(c, top.child("logs"))
	d.readControl(c, top.child("control"))
	d.readMetrics(c, top.child("metrics"))
	d.readRemote(c, top.child("remote"))
	d.readTLS(c, top.child("tls"))
	d.readAccess(c, top)
	d.readNotify(c, top)

	supervisor := top.child("supervisor")
	root := &branch{name: rootName, o: supervisor, spec: d.readSupervision(supervisor, rootName)}
	supervisor.done()
	ds := d.readServices(c, top)
	d.addGateway(c, ds, top)
	tree := d.readTree(top, root, ds)
	tree.apart(ds)
	top.done()

	d.checkExclusive(c, top, ds)
	d.checkNotify(c, top, ds, tree)
	d.resolveDependencies(ds, tree)
	d.checkCompleted(ds)
	d.checkSignificant(tree)
	d.checkOrder(ds, tree)
	if len(d.errs) > 0 {
		return
	}
	c.Services = make([]Service, 0, len(ds.list))
	for _, s := range ds.list {
		s.svc.Supervisor = tree.parent[s.svc.Name].name
		c.Services = append(c.Services, s.finish(ds))
	}
	c.Tree, c.root = tree.root.compile(), tree.root
	c.Warnings = slices.Concat(c.Source.warnings(), d.limitWarnings(ds, tree), c.remoteWarnings())
}

// ControlSocket returns the path of the control socket. It reads nothing else, so
// that a client reaches its node although the rest of the file is wrong.
func ControlSocket(src Source, getenv func(string) (string, bool)) (string, error) {
	return leniently(src, getenv, func(d *decoder, top *object) string {
		runtimeDir := top.lenient("node").filePath("runtime_dir", d.defaultRuntimeDir(), d.socketBase)
		return top.lenient("control").filePath("socket", filepath.Join(runtimeDir, "bhnode.sock"), d.socketBase)
	})
}

// DataDir returns the directory of the node's data, in the same way.
func DataDir(src Source, getenv func(string) (string, bool)) (string, error) {
	return leniently(src, getenv, func(d *decoder, top *object) string {
		return top.lenient("node").filePath("data_dir", filepath.Join(d.base, "data"), d.base)
	})
}

// leniently reads one path of a file that may be wrong elsewhere.
func leniently(src Source, getenv func(string) (string, bool), read func(*decoder, *object) string) (string, error) {
	m, err := thisMachine(getenv)
	if err != nil {
		return "", err
	}
	d := &decoder{file: src.String(), machine: m, masked: map[string]string{}}
	data, ok := d.read(src)
	if !ok {
		return "", inFileOrder(d.errs)
	}
	root := d.parse(data)
	if root == nil {
		return "", inFileOrder(d.errs)
	}
	d.errs = nil
	path := read(d, &object{d: d, node: root})
	if len(d.errs) > 0 {
		return "", inFileOrder(d.errs)
	}
	return path, nil
}

// lenient returns the mapping under a key, an empty one if it is none.
func (o *object) lenient(key string) *object {
	if n := o.get(key); n != nil && n.kind == mapKind {
		return &object{d: o.d, path: o.at(key), node: n}
	}
	return &object{d: o.d, path: o.at(key)}
}
