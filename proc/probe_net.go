package proc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// endpoint is where a service listens.
type endpoint struct{ network, address string }

// parseEndpoint reads unix:PATH or HOST:PORT.
func parseEndpoint(target string) (endpoint, error) {
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		if path == "" {
			return endpoint{}, fmt.Errorf("cannot check %q: the path of the socket is missing", target)
		}
		return endpoint{"unix", path}, nil
	}
	if _, _, err := net.SplitHostPort(target); err != nil {
		return endpoint{}, fmt.Errorf("cannot check %q: neither unix:PATH nor HOST:PORT", target)
	}
	return endpoint{"tcp", target}, nil
}

// dial connects to it.
func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, e.network, e.address)
}

// tcpProbe is good when the service accepts a connection.
type tcpProbe struct{ endpoint endpoint }

func newTCPProbe(target string) (*tcpProbe, error) {
	e, err := parseEndpoint(target)
	if err != nil {
		return nil, err
	}
	return &tcpProbe{e}, nil
}

func (p *tcpProbe) check(ctx context.Context) error {
	conn, err := p.endpoint.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (*tcpProbe) close() error { return nil }

// httpProbe is good when a GET answers with a 2xx or 3xx status.
type httpProbe struct {
	url    string
	client *http.Client
}

func newHTTPProbe(target string) (*httpProbe, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("cannot check %q: no URL", target)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("cannot check %q: no http or https URL", target)
	}
	// It asks whether the service answers, not who it is: the certificate is not
	// verified. No proxy, and nothing kept between checks.
	transport := &http.Transport{
		DisableKeepAlives:      true,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &httpProbe{url: target, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (p *httpProbe) check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "bhnode")
	resp, err := p.client.Do(req)
	if err != nil {
		if uerr, ok := errors.AsType[*url.Error](err); ok {
			return uerr.Err // without the URL, which may hold a password
		}
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("HTTP status %s", resp.Status)
	}
	return nil
}

func (p *httpProbe) close() error {
	p.client.CloseIdleConnections()
	return nil
}
