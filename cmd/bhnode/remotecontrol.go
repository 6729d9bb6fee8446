package main

import (
	"context"
	"errors"
	"os"

	"google.golang.org/grpc"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc"
)

var roleOf = map[configs.Role]actors.Role{
	configs.RoleViewer: actors.Viewer, configs.RoleOperator: actors.Operator, configs.RoleAdmin: actors.Admin,
}

// access is who may do what: root and our own user everything, others what the
// configuration says. A user who is not there has no role, which is said.
func (d *daemon) access() actors.Access {
	users, names := map[int]actors.Role{}, map[string]actors.Role{}
	for _, a := range d.cfg.Access {
		if a.Cert != "" {
			names[a.Cert] = roleOf[a.Role]
			continue
		}
		uid, err := proc.FindUser(a.User)
		if err != nil {
			d.warn("access of "+a.User+" has no effect", err)
			continue
		}
		users[uid] = max(users[uid], roleOf[a.Role]) // by name and by number
	}
	users[0], users[os.Getuid()] = actors.Admin, actors.Admin
	return actors.Access{OfUser: func(uid int) actors.Role { return users[uid] }, OfName: names}
}

// remoteControl serves the control API to other machines.
type remoteControl struct {
	port   port
	server *grpc.Server
	cancel context.CancelFunc
	done   chan struct{}
}

// serveRemote begins to serve it, if that is asked for. A port that is taken is no
// reason for the services not to run: it is said, and tried again.
func (d *daemon) serveRemote(control *actors.Control, access actors.Access) {
	if d.cfg.Control.Listen == "" {
		return
	}
	files := &certificates{ca: d.cfg.TLS.CA, cert: d.cfg.TLS.Cert, key: d.cfg.TLS.Key, protos: []string{"h2"}}
	r := &remoteControl{
		port: port{d: d, address: d.cfg.Control.Listen}, server: control.RemoteServer(access, files.serverConfig()), done: make(chan struct{}),
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	d.remote = r
	_, err := files.load()
	d.warn("nobody is served on control.listen", errors.Join(err, r.port.open(ctx)))
	go r.serve(ctx)
}

func (r *remoteControl) serve(ctx context.Context) {
	defer close(r.done)
	listener := r.port.await(ctx, "the control API is served")
	if listener == nil {
		return
	}
	if err := r.server.Serve(listener); err != nil && ctx.Err() == nil {
		r.port.d.log.Error().Err(err).Msg("the control API is not served to other machines any more")
	}
}

// finish ends it when all streams have told what they had to.
func (r *remoteControl) finish() {
	if r == nil {
		return
	}
	r.cancel()
	r.server.GracefulStop()
	<-r.done
}

// stop ends it at once.
func (r *remoteControl) stop() {
	if r != nil {
		r.server.Stop()
	}
}
