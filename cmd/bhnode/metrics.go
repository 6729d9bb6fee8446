package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/blackhole/bhnode/configs"
)

// A port that is taken may be free soon, of a bhnode that is just ending for instance.
const (
	listenAgain = time.Second
	closingTime = time.Second
)

// exporter serves the metrics of a node over HTTP.
type exporter struct {
	d        *daemon
	server   *http.Server
	listener atomic.Pointer[net.TCPListener] // nil: not yet
	cancel   context.CancelFunc
	done     chan struct{}
}

// serveMetrics begins to serve them. That this cannot be done is no reason for the services
// not to run: it is said, and tried again.
func (d *daemon) serveMetrics() {
	cfg := d.cfg.Metrics
	if cfg.Listen == "" {
		return
	}
	e := &exporter{d: d, server: d.node.MetricsServer(), done: make(chan struct{})}
	var errs []error
	if cfg.TLS != configs.TLSNone {
		files := &certificates{ca: d.cfg.TLS.CA, cert: d.cfg.TLS.Cert, key: d.cfg.TLS.Key}
		if cfg.TLS == configs.TLSServer {
			files.ca = ""
		}
		e.server.TLSConfig = files.serverConfig()
		_, err := files.load()
		errs = append(errs, err)
	}
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(context.Background())
	d.exporter = e
	err := e.inherit()
	if e.listener.Load() == nil && err == nil {
		err = e.listen(ctx)
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		d.app.err.printf("%s metrics are not served until this is mended: %s\n", d.app.err.paint(styleWorking, "warning:"), safeLines(err.Error()))
		d.log.Warn().Err(err).Msg("metrics are not served until this is mended")
	}
	go e.serve(ctx)
}

func (e *exporter) listen(ctx context.Context) error {
	return e.take((&net.ListenConfig{}).Listen(ctx, "tcp", e.d.cfg.Metrics.Listen))
}

// inherit goes on with the listener of the bhnode before this one, if there is one.
func (e *exporter) inherit() error {
	file := e.d.host.Listener(e.d.cfg.Metrics.Listen)
	if file == nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	return e.take(net.FileListener(file))
}

func (e *exporter) take(l net.Listener, err error) error {
	if tcp, ok := l.(*net.TCPListener); ok {
		e.listener.Store(tcp)
	}
	return err
}

// serve serves, once it can listen.
func (e *exporter) serve(ctx context.Context) {
	defer close(e.done)
	again := time.NewTicker(listenAgain)
	defer again.Stop()
	for e.listener.Load() == nil {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if e.listen(ctx) == nil {
			e.d.log.Info().Str("address", e.d.cfg.Metrics.Listen).Msg("metrics are served now")
		}
	}
	var err error
	listener := e.listener.Load()
	if e.server.TLSConfig != nil {
		err = e.server.ServeTLS(listener, "", "")
	} else {
		err = e.server.Serve(listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		e.d.log.Error().Err(err).Msg("metrics are not served any more")
	}
}

// close ends it; who is being answered gets a moment.
func (e *exporter) close() {
	if e == nil {
		return
	}
	e.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	if e.server.Shutdown(ctx) != nil {
		_ = e.server.Close() // somebody does not read
	}
	<-e.done
}
