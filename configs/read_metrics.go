package configs

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// defaultMetrics is where metrics are served; the port is the one that OpenTelemetry's
// exporter for Prometheus has.
const defaultMetrics = "127.0.0.1:9464"

var metricsTLS = []choice[MetricsTLS]{{"none", TLSNone}, {"server", TLSServer}, {"mutual", TLSMutual}}

func (d *decoder) readMetrics(c *Config, o *object) {
	c.Metrics = Metrics{
		Listen:      o.str("listen", defaultMetrics),
		Interval:    o.duration("interval", 5*time.Second, 100*time.Millisecond),
		TLS:         pick(o, "tls", TLSNone, metricsTLS),
		CompatNames: o.boolean("compat_names", false),
	}
	o.done()
	if c.Metrics.Listen == "" {
		return
	}
	at, ok := o.address("listen", c.Metrics.Listen)
	if !ok {
		return
	}
	c.Metrics.Listen = at.String()
	if !at.Addr().IsLoopback() && c.Metrics.TLS == TLSNone {
		o.fail("listen", "set metrics.tls to server, or to mutual, and the files under tls",
			"%s can be reached from other machines, and nothing is told them without TLS", at)
	}
}

// address checks an address to listen on.
func (o *object) address(key, value string) (netip.AddrPort, bool) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		o.fail(key, "127.0.0.1:9464, for instance", "must be an address and a port, not %q", value)
		return netip.AddrPort{}, false
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "::" // as net.Listen has it
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		o.fail(key, "", "%q is no IP address", host)
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		o.fail(key, "", "%q is no port", port)
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(at, uint16(n)), true
}

// portOf is the port of an address to listen on, 0 if there is none or it is any.
func portOf(listen string) int {
	at, _ := netip.ParseAddrPort(listen)
	return int(at.Port())
}

// readTLS reads the files of certificates, which something must need.
func (d *decoder) readTLS(c *Config, o *object) {
	c.TLS = TLS{
		CA:   o.filePath("ca", "", d.base),
		Cert: o.filePath("cert", "", d.base),
		Key:  o.filePath("key", "", d.base),
	}
	o.done()
	var why string
	peers := true // must show a certificate
	switch {
	case c.Control.Listen != "":
		why = "control.listen is set"
	case c.Remote.Listen != "":
		why = "remote.listen is set"
	case c.Metrics.Listen != "" && c.Metrics.TLS != TLSNone:
		why, peers = "metrics.tls is "+string(c.Metrics.TLS), c.Metrics.TLS == TLSMutual
	}
	needed := why != ""
	for _, file := range []struct {
		key, path string
		needed    bool
	}{
		{"ca", c.TLS.CA, needed && peers},
		{"cert", c.TLS.Cert, needed},
		{"key", c.TLS.Key, needed},
	} {
		switch {
		case file.needed && file.path == "":
			o.fail(file.key, `"bhnode cert init" makes it`, "is needed, since %s", why)
		case !needed && file.path != "":
			o.fail(file.key, "set metrics.tls to server or mutual, or control.listen, or remote.listen, or remove it", "has no effect, since nothing uses TLS")
		}
	}
}
