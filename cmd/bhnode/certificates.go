package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// certificates are files that may be renewed at any time: they are read anew at each
// handshake.
type certificates struct {
	ca, cert, key string   // ca "": the peer shows none
	protos        []string // what is spoken over TLS; nil: whatever
}

// serverConfig returns what a server uses.
func (c *certificates) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.load() },
	}
}

// clientConfig returns what a client uses; the CA is that of its peers' certificates.
func (c *certificates) clientConfig() (*tls.Config, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	config.RootCAs = config.ClientCAs
	return config, nil
}

// load reads the files.
func (c *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the certificate %s with the key %s: %w", c.cert, c.key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: c.protos}
	if c.ca == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA: %w", err)
	}
	config.SessionTicketsDisabled = true // a session of an earlier CA is none of this one
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", c.ca)
	}
	return config, nil
}

// renewalDue is how long before its end a certificate is spoken of.
const renewalDue = 30 * 24 * time.Hour

// renewalLook is how often a running node looks at its certificate, renewalSay how often it
// says that it is about to end.
const (
	renewalLook = time.Minute
	renewalSay  = 24 * time.Hour
)

// watchCertificate tells when the certificate ends: the metrics always, the log before.
func (d *daemon) watchCertificate(ctx context.Context) {
	files := certificates{cert: d.cfg.TLS.Cert, key: d.cfg.TLS.Key}
	if files.cert == "" {
		return
	}
	tick := time.NewTicker(renewalLook)
	defer tick.Stop()
	for said := (time.Time{}); ; {
		if config, err := files.load(); err == nil {
			end, now := config.Certificates[0].Leaf.NotAfter, d.app.now()
			d.node.CertificateEnds(end)
			if end.Sub(now) < renewalDue && now.Sub(said) >= renewalSay {
				said = now
				d.log.Warn().Time("end", end).Str("certificate", files.cert).Msg("the certificate of the node is about to end; \"bhnode cert init --renew\" makes it anew")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// certificates looks at what the node shows its peers.
func (x *examiner) certificates(now time.Time) {
	files := certificates{ca: x.cfg.TLS.CA, cert: x.cfg.TLS.Cert, key: x.cfg.TLS.Key}
	if files.cert == "" {
		return
	}
	config, err := files.load()
	if err != nil {
		x.found(checkWarning, "certificates", err.Error()+": nobody is served over TLS", `"bhnode cert init" makes them`)
		return
	}
	if info, err := os.Stat(files.key); err == nil && info.Mode().Perm()&0o077 != 0 {
		x.found(checkWarning, "certificates", fmt.Sprintf("%s can be read by others (mode %v)", files.key, info.Mode().Perm()), "chmod 600 "+files.key)
	}
	end := config.Certificates[0].Leaf.NotAfter
	switch message := fmt.Sprintf("%s is valid until %s", files.cert, end.Format(time.DateOnly)); {
	case now.After(end):
		x.found(checkWarning, "certificates", fmt.Sprintf("%s was valid until %s: no peer takes it", files.cert, end.Format(time.DateOnly)), `"bhnode cert init --renew" makes it anew`)
	case end.Sub(now) < renewalDue:
		x.found(checkWarning, "certificates", message, `"bhnode cert init --renew" makes it anew`)
	default:
		x.found(checkOK, "certificates", message, "")
	}
}
