package main

import (
	"cmp"
	"crypto/tls"
	"errors"

	"github.com/spf13/pflag"

	"github.com/blackhole/bhnode/proto/client"
)

// remoteFlags name a node on another machine and what we show it.
type remoteFlags struct{ address, ca, cert, key string }

func (r *remoteFlags) flags(flags *pflag.FlagSet) {
	flags.StringVar(&r.address, "address", "", "`HOST:PORT` of a node on another machine, its control.listen (default: $BHNODE_ADDRESS)")
	flags.StringVar(&r.ca, "tls-ca", "", "`file` of the CA of its certificate (default: $BHNODE_TLS_CA)")
	flags.StringVar(&r.cert, "tls-cert", "", "`file` of our certificate (default: $BHNODE_TLS_CERT)")
	flags.StringVar(&r.key, "tls-key", "", "`file` of the key of that (default: $BHNODE_TLS_KEY)")
}

// target says which node this command line is about. A flag comes before the
// environment, and what is named before what is found.
func (a *app) target() (client.Options, error) {
	r := remoteFlags{
		cmp.Or(a.remote.address, a.env("BHNODE_ADDRESS")), cmp.Or(a.remote.ca, a.env("BHNODE_TLS_CA")),
		cmp.Or(a.remote.cert, a.env("BHNODE_TLS_CERT")), cmp.Or(a.remote.key, a.env("BHNODE_TLS_KEY")),
	}
	switch {
	case a.remote.address != "" && a.socketFlag != "":
		return client.Options{}, usageError("name one node", "--address and --socket exclude each other")
	case a.remote != (remoteFlags{}) && r.address == "":
		return client.Options{}, usageError("--address HOST:PORT says which", "--tls-… are about a node on another machine, and none is named")
	}
	if r.address != "" && a.socketFlag == "" {
		config, err := r.config()
		return client.Options{Address: r.address, TLS: config}, err
	}
	socket, err := a.socket()
	return client.Options{Socket: socket}, err
}

// config is what TLS needs; what is missing is said at once.
func (r *remoteFlags) config() (*tls.Config, error) {
	for _, f := range []struct{ flag, file string }{{"--tls-ca", r.ca}, {"--tls-cert", r.cert}, {"--tls-key", r.key}} {
		if f.file == "" {
			return nil, usageError(`"bhnode cert init --client NAME" makes all three`, "a node on another machine needs %s", f.flag)
		}
	}
	config, err := (&certificates{ca: r.ca, cert: r.cert, key: r.key}).clientConfig()
	if err != nil {
		return nil, usageError("", "%v", err)
	}
	return config, nil
}

func (a *app) dial() (*client.Client, error) {
	target, err := a.target()
	if err != nil {
		return nil, err
	}
	node, err := client.Dial(target)
	if err == nil {
		return node, nil
	}
	err = rpcError(err)
	if exit, ok := errors.AsType[*exitError](err); ok && exit.code == exitNoNode && target.Address != "" {
		exit.hint = "is it the control.listen of that node, and does it run?"
	}
	return nil, err
}
