package main

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// listenAgain is how often a port that is taken is tried: it may be free soon, of a
// bhnode that is just ending for instance.
const listenAgain = time.Second

// port is a TCP port that is listened on, by the next bhnode in this place too.
type port struct {
	d        *daemon
	address  string
	listener atomic.Pointer[net.TCPListener] // nil: not yet
}

// open goes on with the listener of the bhnode before this one, or listens.
func (p *port) open(ctx context.Context) error {
	p.d.ports = append(p.d.ports, p)
	err := p.inherit()
	if p.listener.Load() == nil && err == nil {
		err = p.listen(ctx)
	}
	return err
}

// await returns the listener, once there is one; nil: ctx ended. What is what it is for.
func (p *port) await(ctx context.Context, what string) *net.TCPListener {
	again := time.NewTicker(listenAgain)
	defer again.Stop()
	for p.listener.Load() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		if p.listen(ctx) == nil {
			p.d.log.Info().Str("address", p.address).Msg(what + " now")
		}
	}
	return p.listener.Load()
}

func (p *port) listen(ctx context.Context) error {
	network := "tcp" // which is IPv6 too, for 0.0.0.0
	if at, err := netip.ParseAddrPort(p.address); err == nil && at.Addr().Is4() {
		network = "tcp4"
	}
	return p.take((&net.ListenConfig{}).Listen(ctx, network, p.address))
}

func (p *port) inherit() error {
	file := p.d.host.Listener(p.address)
	if file == nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	return p.take(net.FileListener(file))
}

func (p *port) take(l net.Listener, err error) error {
	if tcp, ok := l.(*net.TCPListener); ok {
		p.listener.Store(tcp)
	}
	return err
}

// warn says that something is not served as long as err lasts.
func (d *daemon) warn(what string, err error) {
	if err == nil {
		return
	}
	d.app.err.printf("%s %s until this is mended: %s\n", d.app.err.paint(styleWorking, "warning:"), what, safeLines(err.Error()))
	d.log.Warn().Err(err).Msg(what + " until this is mended")
}
