package configs

func (c *Config) showMetrics(s sheet) {
	m := c.Metrics
	s.quoted("listen", m.Listen)
	s.duration("interval", m.Interval)
	s.raw("tls", string(m.TLS))
	s.bool("compat_names", m.CompatNames)
}

func (c *Config) showNotify() *node {
	list := &node{kind: listKind}
	for i, a := range c.Notify {
		s := sheet{c: c, path: index("notify", i), n: &node{kind: mapKind}}
		s.argv("command", a.Command)
		s.argv("on", a.on)
		if a.Names != nil {
			s.argv("services", a.Names)
		}
		s.duration("timeout", a.Timeout)
		list.items = append(list.items, s.n)
	}
	return list
}

func (c *Config) showAccess() *node {
	list := &node{kind: listKind}
	for i, a := range c.Access {
		s := sheet{c: c, path: index("access", i), n: &node{kind: mapKind}}
		s.optional("user", a.User)
		s.optional("cert", a.Cert)
		s.raw("role", string(a.Role))
		s.optional("remote_address", a.RemoteAddress)
		list.items = append(list.items, s.n)
	}
	return list
}
