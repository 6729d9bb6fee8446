package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/blackhole/bhnode/configs"
)

// closingTime is what who is being answered gets when metrics end.
const closingTime = time.Second

// exporter serves the metrics of a node over HTTP.
type exporter struct {
	port   port
	server *http.Server
	cancel context.CancelFunc
	done   chan struct{}
}

// serveMetrics begins to serve them. That this cannot be done is no reason for the services
// not to run: it is said, and tried again.
func (d *daemon) serveMetrics() {
	cfg := d.cfg.Metrics
	if cfg.Listen == "" {
		return
	}
	e := &exporter{port: port{d: d, address: cfg.Listen}, server: d.node.MetricsServer(), done: make(chan struct{})}
	var fault error
	if cfg.TLS != configs.TLSNone {
		files := &certificates{ca: d.cfg.TLS.CA, cert: d.cfg.TLS.Cert, key: d.cfg.TLS.Key}
		if cfg.TLS == configs.TLSServer {
			files.ca = ""
		}
		e.server.TLSConfig = files.serverConfig()
		_, fault = files.load()
	}
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(context.Background())
	d.exporter = e
	d.warn("metrics are not served", errors.Join(fault, e.port.open(ctx)))
	go e.serve(ctx)
}

// serve serves, once it can listen.
func (e *exporter) serve(ctx context.Context) {
	defer close(e.done)
	listener := e.port.await(ctx, "metrics are served")
	if listener == nil {
		return
	}
	var err error
	if e.server.TLSConfig != nil {
		err = e.server.ServeTLS(listener, "", "")
	} else {
		err = e.server.Serve(listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		e.port.d.log.Error().Err(err).Msg("metrics are not served any more")
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
