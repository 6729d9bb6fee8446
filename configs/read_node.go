package configs

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

var (
	nodeName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	serviceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	accountName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$`)
)

// maxSocketPath is what the kernel takes for the path of a unix socket.
const maxSocketPath = 107

var (
	bootModes   = []choice[bool]{{"all_or_nothing", false}, {"best_effort", true}}
	deathModes  = []choice[bool]{{"adopt", false}, {"kill", true}}
	logFormats  = []choice[string]{{FormatJSON, FormatJSON}, {FormatRaw, FormatRaw}}
	overflowing = []choice[bool]{{"block", false}, {"drop", true}}
)

func (d *decoder) readNode(c *Config, o *object) {
	name := d.machine.hostname
	if !nodeName.MatchString(name) {
		name = "node"
	}
	c.Node = Node{
		Name: o.word("name", name, nodeName.MatchString,
			"a word of letters, digits, dots, dashes and underscores, 64 at most"),
		DataDir:           o.filePath("data_dir", filepath.Join(d.base, "data"), d.base),
		RuntimeDir:        o.filePath("runtime_dir", d.defaultRuntimeDir(), d.socketBase),
		Group:             o.account("group"),
		BestEffort:        pick(o, "boot", false, bootModes),
		MaxParallelStarts: o.integer("max_parallel_starts", 0, 0, maxInt),
		ShutdownTimeout:   o.duration("shutdown_timeout", 2*time.Minute, time.Millisecond),
		KillOnDaemonDeath: pick(o, "on_daemon_death", false, deathModes),
	}
	if c.Node.Group != "" {
		o.needsRoot("group")
	}
	o.done()
}

func (d *decoder) defaultRuntimeDir() string { return filepath.Join(d.socketBase, "run") }

func (d *decoder) readLogs(c *Config, o *object) {
	c.Logs = Logs{
		Dir:          o.filePath("dir", filepath.Join(d.base, "logs"), d.base),
		Format:       pick(o, "format", FormatJSON, logFormats),
		MaxSizeMB:    o.integer("max_size_mb", 64, 1, 1<<20),
		MaxFiles:     o.integer("max_files", 8, 1, 10_000),
		Compress:     o.boolean("compress", true),
		Drop:         pick(o, "on_overflow", false, overflowing),
		BlockTimeout: o.duration("block_timeout", 5*time.Second, 0),
	}
	o.done()
}

func (d *decoder) readControl(c *Config, o *object) {
	if !o.has("socket") {
		d.derive("control.socket", "node.runtime_dir", "", "/bhnode.sock")
	}
	mode := fs.FileMode(0o600)
	if c.Node.Group != "" {
		mode = 0o660
	}
	c.Control = Control{
		Socket:     o.filePath("socket", filepath.Join(c.Node.RuntimeDir, "bhnode.sock"), d.socketBase),
		SocketMode: o.mode("socket_mode", mode),
	}
	o.socketFits("socket", c.Control.Socket)
	if listen := o.str("listen", ""); listen != "" {
		if at, ok := o.address("listen", listen); ok {
			c.Control.Listen = at.String()
		}
	}
	o.done()
}

// filePath reads a file name and makes it absolute; "" is the fallback.
func (o *object) filePath(key, fallback, base string) string {
	value := o.str(key, "")
	if value == "" {
		return fallback
	}
	return absolute(base, value)
}

func absolute(base, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

// socketFits checks the length of a socket's path.
func (o *object) socketFits(key, path string) {
	if len(path) > maxSocketPath {
		o.fail(key, "", "the socket's path is %d bytes long, the kernel takes %d at most", len(path), maxSocketPath)
	}
}

// account reads the name or number of a user or group.
func (o *object) account(key string) string {
	return o.word(key, "", func(s string) bool { return s == "" || accountName.MatchString(s) }, "a name or a number")
}

func (o *object) needsRoot(key string) {
	if o.d.machine.uid != 0 {
		o.fail(key, "", "needs root, and bhnode runs as uid %d", o.d.machine.uid)
	}
}

// mode reads permissions, quoted, because YAML itself reads 0600 as a number.
func (o *object) mode(key string, fallback fs.FileMode) fs.FileMode {
	o.takes(key, shape{kind: shapeMode})
	t, n, ok := o.scalar(key, "a quoted octal number")
	if !ok {
		return fallback
	}
	bits, err := strconv.ParseUint(t.value, 8, 32)
	switch {
	case n.kind != stringKind:
		o.fail(key, "write it as \"0600\"", "must be an octal number in quotes, not %s", t.masked)
	case err != nil || bits > 0o777:
		o.fail(key, "", "must be an octal number up to 0777, not %s", quoted(t))
	default:
		return fs.FileMode(bits)
	}
	return fallback
}
