package main

import (
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// certJSON is one certificate of `cert init -o json`.
type certJSON struct {
	Cert     string    `json:"cert"`
	Key      string    `json:"key"`
	Made     bool      `json:"made"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
}

func newCertCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Makes certificates",
		Example: `  bhnode cert init --dir certs                          # for the node
  bhnode cert init --dir certs --client fleet.example   # and for a tool`,
	}
	asGroup(cmd)
	cmd.AddCommand(newCertInitCommand(a))
	return cmd
}

// certOrder is what `cert init` is to make.
type certOrder struct {
	dir     string
	hosts   []string
	clients []string
	days    int
	renew   bool
}

func newCertInitCommand(a *app) *cobra.Command {
	var o certOrder
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Makes a private CA, and certificates for the node and for its clients",
		Long: `Makes a private CA, a certificate for the node and one for each client, with keys
of ECDSA P-256, in files of mode 0600. What is there is kept: it can be run again
for more clients. --renew makes all but the CA anew, for the names they are for and
those that are named. ca.key signs for everybody: it need not stay on the node.`,
		Example: `  bhnode cert init --dir certs                                # ca, node
  bhnode cert init --dir certs --host node3.example --host 10.0.0.3
  bhnode cert init --dir certs --client fleet.example         # for a tool
  bhnode cert init --dir certs --renew`,
		Args: cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error { return a.certInit(&o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", ".", "where the files are")
	flags.StringArrayVar(&o.hosts, "host", nil, "a `name` or address the node is reached by, besides its host name and loopback")
	flags.StringArrayVar(&o.clients, "client", nil, "a `name` to make a certificate for: that of a host, or a URI")
	flags.IntVar(&o.days, "days", 365, "how long certificates are valid; the CA is for ten years")
	flags.BoolVar(&o.renew, "renew", false, "make those of the node and of the clients named anew")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

// check returns the mistakes of an order, all at once.
func (o *certOrder) check() error {
	var wrong []string
	for _, name := range o.hosts {
		if net.ParseIP(name) == nil && !isHostName(name) {
			wrong = append(wrong, "--host "+name+" is neither the name of a host nor an address")
		}
	}
	files := map[string]string{}
	for _, name := range o.clients {
		if had := files[fileName(name)]; had != "" && had != name {
			wrong = append(wrong, "--client "+name+" would have the same file as "+had)
		}
		files[fileName(name)] = name
		uri, err := url.Parse(name)
		isURI := err == nil && uri.Scheme != "" && uri.Host != ""
		if name == "ca" || name == "node" || net.ParseIP(name) != nil || !isURI && !isHostName(name) {
			wrong = append(wrong, "--client "+name+" is neither the name of a host nor a URI")
		}
	}
	if o.days < 1 || o.days > 3650 {
		wrong = append(wrong, "--days is from 1 to 3650")
	}
	if len(wrong) > 0 {
		return usageError(`for instance --host 10.0.0.3 --client fleet.example; "ca" and "node" are taken`, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

func (a *app) certInit(o *certOrder) error {
	if err := o.check(); err != nil {
		return err
	}
	pairs, err := o.pairs(a.now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	made := []certJSON{}
	for _, p := range pairs {
		if p.made {
			if err := p.write(); err != nil {
				return err
			}
		}
		made = append(made, certJSON{p.certFile(), p.keyFile(), p.made, p.names(), p.cert.NotAfter})
	}
	if a.json() {
		return printJSON(a.out, map[string]any{"certificates": made})
	}
	for _, c := range made {
		what := "is there"
		if c.Made {
			what = "made"
		}
		a.out.printf("%s, %s: %s, valid until %s%s\n", c.Cert, c.Key, what, c.NotAfter.Format(time.DateOnly), forWhom(c.Names))
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	a.err.printf("next, in the configuration: tls: {ca: %[1]s/ca.pem, cert: %[1]s/node.pem, key: %[1]s/node.key}\n", dir)
	return nil
}

func forWhom(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", for " + strings.Join(names, ", ")
}

// pairs returns all that is ordered, the CA first, then the node: what is there
// and still serves, and else made, but not written yet.
func (o *certOrder) pairs(now time.Time) ([]*pair, error) {
	base := filepath.Join(o.dir, "ca")
	host, _ := os.Hostname()
	ca, err := readPair(base)
	if ca == nil && err == nil {
		ca, err = newAuthority(base, strings.TrimSpace("bhnode CA "+host), now)
	}
	switch {
	case err != nil:
		return nil, err
	case !ca.cert.IsCA:
		return nil, failure("move it away, or name another --dir", "%s is not a certificate of a CA", ca.certFile())
	case now.After(ca.cert.NotAfter):
		return nil, failure("move it away for a new one, which all who trust it then need", "the CA of %s was valid until %s", ca.certFile(), ca.cert.NotAfter.Format(time.DateOnly))
	}
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, o.hosts...)
	if isHostName(host) {
		hosts = append([]string{host}, hosts...)
	}
	node, err := o.pair(ca, "node", hosts, o.hosts, now)
	if err != nil {
		return nil, err
	}
	pairs := []*pair{ca, node}
	for _, name := range distinct(o.clients) {
		if node.isFor(name) {
			return nil, usageError("give it a name of its own", "--client %s is a name of the node", name)
		}
		client, err := o.pair(ca, fileName(name), []string{name}, []string{name}, now)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, client)
	}
	return pairs, nil
}

// pair returns the certificate of a file, made for names if it is not there or
// is to be renewed. What is there must be of ca and for all that are needed.
func (o *certOrder) pair(ca *pair, file string, names, needed []string, now time.Time) (*pair, error) {
	base, life := filepath.Join(o.dir, file), time.Duration(o.days)*24*time.Hour
	had, err := readPair(base)
	if err != nil && !o.renew {
		return nil, err
	}
	switch {
	case had == nil:
		return ca.issue(base, distinct(names), now, life)
	case o.renew:
		return ca.issue(base, distinct(append(had.names(), names...)), now, life)
	}
	const renew = "--renew makes it anew"
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	verify := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := had.cert.Verify(verify); err != nil {
		return nil, failure(renew, "%s is there, and of no use: %v", had.certFile(), err)
	}
	for _, name := range needed {
		if !had.isFor(name) {
			return nil, failure(renew, "%s is there, for %s, and not for %s", had.certFile(), strings.Join(had.names(), ", "), name)
		}
	}
	return had, nil
}

// distinct returns names without those that came before.
func distinct(names []string) (all []string) {
	for _, name := range names {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// fileName is the name of the files of a client: a URI has what a file must not.
func fileName(client string) string {
	return strings.Map(func(r rune) rune {
		if r == ':' || r == '/' || r == os.PathSeparator || r <= ' ' || r == '?' || r == '#' || r == '%' {
			return '_'
		}
		return r
	}, client)
}
