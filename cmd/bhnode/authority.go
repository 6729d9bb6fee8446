package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	clockSkew     = time.Hour // how much a peer's clock may be late
)

// pair is a certificate and its key, each a PEM file of mode 0600.
type pair struct {
	base string // the path without its suffix
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	made bool // just now
}

func (p *pair) certFile() string { return p.base + ".pem" }
func (p *pair) keyFile() string  { return p.base + ".key" }

// names are those that a certificate is for.
func (p *pair) names() []string {
	names := append([]string{}, p.cert.DNSNames...)
	for _, ip := range p.cert.IPAddresses {
		names = append(names, ip.String())
	}
	for _, uri := range p.cert.URIs {
		names = append(names, uri.String())
	}
	return names
}

// isFor tells whether a certificate is for a name.
func (p *pair) isFor(name string) bool {
	for _, had := range p.names() {
		if strings.EqualFold(had, name) {
			return true
		}
	}
	return false
}

// readPair reads a pair; nil: neither of its files is there.
func readPair(base string) (*pair, error) {
	p := &pair{base: base}
	both, err := tls.LoadX509KeyPair(p.certFile(), p.keyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, p.half(err)
	}
	if err != nil {
		return nil, failure("if they are of no use, move both away", "cannot use %s with %s: %v", p.certFile(), p.keyFile(), err)
	}
	p.cert = both.Leaf
	key, ok := both.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, failure("if it is of no use, move it away, and "+p.certFile(), "%s is no ECDSA key", p.keyFile())
	}
	p.key = key
	return p, nil
}

// half returns missing if one of the two files is there.
func (p *pair) half(missing error) error {
	for _, file := range []string{p.certFile(), p.keyFile()} {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return failure("where both are, this command can be run; if it is of no use, move it away", "%s is there alone: %v", file, missing)
		}
	}
	return nil
}

// newAuthority makes a certificate authority that signs for itself, and whose
// certificates sign for nobody (RFC 5280, 4.2.1.9: path length 0).
func newAuthority(base, name string, now time.Time) (*pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(base, template, nil)
}

// issue makes a certificate that is good for both ends of a connection: whom a
// node is called by it may have to call back.
func (p *pair) issue(base string, names []string, now time.Time, life time.Duration) (*pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: names[0]},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if template.NotAfter.After(p.cert.NotAfter) {
		template.NotAfter = p.cert.NotAfter
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if uri, err := url.Parse(name); err == nil && uri.Scheme != "" {
			template.URIs = append(template.URIs, uri)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(base, template, p)
}

// sign makes a pair, of by or, if that is nil, of itself.
func sign(base string, template *x509.Certificate, by *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &pair{base: base, cert: cert, key: key, made: true}, nil
}

// write puts the files where they belong, each whole or not at all: the key
// first, so that there is no certificate without one.
func (p *pair) write() error {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(p.keyFile(), "PRIVATE KEY", der),
		writePEM(p.certFile(), "CERTIFICATE", p.cert.Raw),
	)
}

func writePEM(file, kind string, der []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".cert-*") // its mode is 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$`)

// isHostName tells whether a certificate can hold a name as that of a host (RFC 1123, 2.1).
func isHostName(name string) bool { return len(name) <= 253 && hostName.MatchString(name) }
