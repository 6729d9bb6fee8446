package configs

import (
	"net/netip"
	"net/url"
	"slices"
)

// Role is what somebody may do with a node; each may do what those before it may.
type Role string

// The values of Role.
const (
	RoleViewer   Role = "viewer"   // look
	RoleOperator Role = "operator" // and start, stop, restart, pause, signal, debug, profile
	RoleAdmin    Role = "admin"    // and reload, upgrade, shut down; on the socket only
)

// Access gives a role to a user of this machine or to the owner of a certificate.
type Access struct {
	User string // a name or a number; "": it is a certificate
	Cert string // the DNS name or URI that it is for
	Role Role
	// RemoteAddress is where the actors of a certificate are, HOST:PORT; "": it has none.
	RemoteAddress string
}

var roles = []choice[Role]{{"viewer", RoleViewer}, {"operator", RoleOperator}, {"admin", RoleAdmin}}

// readAccess reads who besides root and our own user may do something.
func (d *decoder) readAccess(c *Config, top *object) {
	n := top.get("access")
	switch {
	case n == nil || n.kind == nullKind:
		return
	case n.kind != listKind:
		top.fail("access", "write - before it", "must be a list, not %s", n.kind)
		return
	}
	had := map[Access]bool{}
	for i, item := range n.items {
		o := d.object(item, index("access", i))
		if item.kind != mapKind {
			continue
		}
		a := Access{
			User: o.account("user"),
			Cert: o.word("cert", "", isPeerName, "the DNS name or URI of a certificate"),
			Role: pick(o, "role", RoleViewer, roles),
		}
		a.RemoteAddress = o.word("remote_address", "", isPeerAddress, "the host and port of its actors")
		o.checkAccess(c, a)
		o.checkRemoteAddress(c, a)
		who := Access{User: a.User, Cert: a.Cert}
		if had[who] && who != (Access{}) {
			d.fail(item.pos, o.path, "give each one role", "%s has a role already", a.User+a.Cert)
		}
		had[who] = true
		o.done()
		c.Access = append(c.Access, a)
	}
}

func (o *object) checkAccess(c *Config, a Access) {
	switch {
	case !o.has("role"):
		o.fail("role", "viewer, operator or admin", "is missing")
	case a.Cert != "" && a.Role == RoleAdmin:
		o.fail("role", "operator, for instance", "admin is who comes over the control socket only, not who has a certificate")
	}
	switch {
	case !o.has("user") && !o.has("cert"):
		o.fail("user", "or cert, the DNS name or URI of a certificate", "is missing: who has this role")
	case o.has("user") && o.has("cert"):
		o.fail("cert", "make two of it", "is one too many beside user")
	case a.Cert != "" && c.Control.Listen == "" && c.Remote.Listen == "":
		o.fail("cert", "set control.listen or remote.listen, or remove it", "has no effect, since nothing listens for certificates")
	}
}

// checkRemoteAddress checks where the gateway may dial.
func (o *object) checkRemoteAddress(c *Config, a Access) {
	if a.RemoteAddress == "" {
		return
	}
	switch {
	case a.Cert == "":
		o.fail("remote_address", "give it to the cert of those actors", "is for certificates only")
	case c.Remote.Listen == "":
		o.fail("remote_address", "set remote.listen, or remove it", "has no effect, since nothing listens for actors")
	case a.RemoteAddress == c.Remote.Advertise:
		o.fail("remote_address", "", "%s is our own, remote.advertise", a.RemoteAddress)
	case slices.ContainsFunc(c.Access, func(b Access) bool { return b.RemoteAddress == a.RemoteAddress }):
		o.fail("remote_address", "", "%s is that of another certificate", a.RemoteAddress)
	}
}

// isPeerName tells whether a certificate can be for a name.
func isPeerName(name string) bool {
	if uri, err := url.Parse(name); err == nil && uri.Scheme != "" {
		return uri.Host != ""
	}
	_, err := netip.ParseAddr(name)
	return err != nil && name != ""
}
