package configs

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/blackhole/bhnode/supervision"
)

// Remote is the endpoint for tooling that is made of actors; its gateway is a service.
type Remote struct {
	// Listen is an address and a port; "": there is none.
	Listen string
	// Advertise is how actors of other machines name it.
	Advertise string
}

// The built-in service that serves actors, and the supervisor that it gets where the root
// would restart all with it.
const (
	gatewayName       = "gateway"
	gatewaySupervisor = "endpoints"
)

func (d *decoder) readRemote(c *Config, o *object) {
	defer o.done()
	advertise := o.word("advertise", "", isPeerAddress, "a host and a port, as others reach it")
	listen := o.str("listen", "")
	if listen == "" {
		if advertise != "" {
			o.fail("advertise", "set remote.listen, or remove it", "has no effect, since nothing listens for actors")
		}
		return
	}
	at, ok := o.address("listen", listen)
	if !ok {
		return
	}
	c.Remote = Remote{Listen: at.String(), Advertise: advertise}
	switch {
	case at.Port() == 0:
		o.fail("listen", "", "needs a port that others can name, not 0")
	case advertise != "":
	case at.Addr().IsUnspecified():
		o.fail("advertise", "10.0.0.5:8900, for instance", "is needed, since %s is no address that others can name", at)
	default:
		c.Remote.Advertise = at.String()
	}
}

// isPeerAddress tells whether an actor of another machine can be at an address.
func isPeerAddress(value string) bool {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return value == ""
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if at, ipErr := netip.ParseAddr(host); ipErr == nil {
		return err == nil && n > 0 && !at.IsUnspecified()
	}
	return err == nil && n > 0 && isPeerName(host)
}

// remoteWarnings tell that nobody may come in. That is no mistake: the last one may have been
// taken out.
func (c *Config) remoteWarnings() []string {
	if c.Remote.Listen == "" || slices.ContainsFunc(c.Access, func(a Access) bool { return a.RemoteAddress != "" }) {
		return nil
	}
	return []string{"remote.listen serves nobody, since no certificate under access has a remote_address"}
}

// addGateway adds the service that serves actors. It has limits of its own, and whatever
// becomes of it is no reason for anything else to end: it goes on at max_delay.
func (d *decoder) addGateway(c *Config, ds *drafts, top *object) {
	if c.Remote.Listen == "" {
		return
	}
	if s := ds.byName[gatewayName]; s != nil {
		d.fail(s.o.place, s.o.path, "", "since remote.listen is set, bhnode has a service of its own of this name; name it otherwise")
		return
	}
	command := []string{
		d.machine.executable, "gateway", "--listen", c.Remote.Listen, "--advertise", c.Remote.Advertise,
		"--control", c.Control.Socket, "--tls-ca", c.TLS.CA, "--tls-cert", c.TLS.Cert, "--tls-key", c.TLS.Key,
	}
	for _, a := range c.Access {
		if a.RemoteAddress != "" {
			command = append(command, "--peer", a.Cert+" "+string(a.Role)+" "+a.RemoteAddress)
		}
	}
	own := &decoder{file: d.file, machine: d.machine, base: d.base, socketBase: d.socketBase, masked: map[string]string{}}
	text := `
description: Serves actors of other machines
inherit_env: [PATH, HOME]
env: {GOMEMLIMIT: 192MiB}
no_new_privileges: true
resources: {memory_mb: 256, cpu_percent: 100, processes: 128, open_files: 4096}
health_check: {type: grpc, start_interval: 50ms}
restart: {type: permanent, initial_delay: 100ms, max_delay: 5s, max_restarts: 5, restart_window: 1h, on_exhausted: keep}
shutdown: {timeout: 10s}
unix_socket: ` + strconv.Quote(c.Node.RuntimeDir+"/svc/"+gatewayName+"/"+gatewayName+".sock")
	if d.machine.uid == 0 {
		kept := ""
		if portOf(c.Remote.Listen) < 1024 {
			kept = "net_bind_service"
		}
		text += "\ncapabilities: [" + kept + "]"
	}
	o := own.object(own.parse(text), join("services", gatewayName))
	o.place = top.child("remote").pos("listen")
	s := own.readService(c, o, gatewayName)
	s.builtIn, s.svc.BuiltIn = false, true
	own.complete(c, s)
	s.svc.Command = command
	d.errs = append(d.errs, own.errs...)
	ds.list, ds.byName[gatewayName] = append(ds.list, s), s
}

// apart gives the gateway a supervisor of its own where the root would restart all of its
// children with it.
func (t *tree) apart(ds *drafts) {
	s := ds.byName[gatewayName]
	if s == nil || !s.svc.BuiltIn || t.root.spec.Strategy != supervision.OneForAll || t.parent[gatewayName] != t.root {
		return
	}
	name := gatewaySupervisor
	for t.branches[name] != nil || ds.byName[name] != nil {
		name = "bhnode-" + name
	}
	b := &branch{name: name, o: t.root.o, parent: t.root, spec: supervision.SupervisorSpec{
		ID: supervision.ChildID(name), Strategy: supervision.OneForOne, Intensity: t.root.spec.Intensity,
	}}
	b.child = supervision.ChildSpec{
		ID: b.spec.ID, Restart: supervision.Permanent, Shutdown: supervision.Shutdown{Mode: supervision.Infinity}, Backoff: defaultBackoff,
	}
	b.entries = []entry{{service: s}}
	for i, e := range t.root.entries {
		if e.service == s {
			t.root.entries[i] = entry{supervisor: b}
		}
	}
	t.parent[gatewayName], t.branches[name] = b, b
	t.order = append(t.order, b)
}
