package main

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/actors/gateway"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
	"github.com/blackhole/bhnode/proto/host"
)

// reportEvery is how often the gateway tells the node what it has turned away.
const reportEvery = 5 * time.Second

// gatewayFlags are what the command line of the gateway says.
type gatewayFlags struct {
	listen, advertise, control string
	tls                        certificates
	peers                      []string
}

// newGatewayCommand returns the command of the built-in service that serves actors.
func newGatewayCommand() *cobra.Command {
	f := &gatewayFlags{}
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Serves actors of other machines; bhnode itself starts it",
		Long: `Serves tooling that is made of protoactor actors. A node with remote.listen runs it as a
service of its own, "gateway", so that nothing that comes over the network reaches the
process that supervises. It is a client of the control socket.`,
		Example: `  bhnode status gateway      # how the one of this node does
  bhnode logs gateway        # whom it has turned away`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "", "`ADDRESS:PORT` to serve actors on")
	flags.StringVar(&f.advertise, "advertise", "", "`HOST:PORT` by which they name it")
	flags.StringVar(&f.control, "control", "", "the control `socket` of the node")
	flags.StringVar(&f.tls.ca, "tls-ca", "", "`file` of the CA of all certificates")
	flags.StringVar(&f.tls.cert, "tls-cert", "", "`file` of our certificate")
	flags.StringVar(&f.tls.key, "tls-key", "", "`file` of the key of that")
	flags.StringArrayVar(&f.peers, "peer", nil, "`\"NAME ROLE HOST:PORT\"` of a certificate that may come in")
	for _, needed := range []string{"listen", "control", "tls-ca", "tls-cert", "tls-key"} {
		_ = cmd.MarkFlagRequired(needed)
	}
	return cmd
}

// run serves actors, and gRPC health for the node, until it is ordered to stop.
func (f *gatewayFlags) run(cmd *cobra.Command) error {
	options, err := host.FromEnv(os.Environ(), cmd.OutOrStdout())
	if err != nil {
		return err
	}
	node, err := client.New(client.Options{Socket: f.control})
	if err != nil {
		return err
	}
	defer func() { _ = node.Close() }()
	o, err := f.options(&options, node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(gateway.Run(ctx, o))
	}()
	go report(ctx, node, o.Rejections)
	err = host.Run(ctx, options)
	cancel(nil)
	<-done
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	return err
}

func (f *gatewayFlags) options(h *host.Options, node *client.Client) (gateway.Options, error) {
	f.tls.protos = []string{"h2"}
	peers := make([]gateway.Peer, len(f.peers))
	for i, text := range f.peers {
		words := strings.Fields(text)
		if len(words) < 3 {
			return gateway.Options{}, usageError(`it is "NAME ROLE HOST:PORT"`, "--peer %q", text)
		}
		n := len(words)
		peers[i] = gateway.Peer{Name: strings.Join(words[:n-2], " "), Role: words[n-2], Address: words[n-1]}
	}
	if _, err := f.tls.load(); err != nil { // said, and not the end: the files may come
		h.Log.Error().Err(err).Msg("nobody is served until this is mended")
	}
	return gateway.Options{
		Listen: f.listen, Advertise: f.advertise, Peers: peers, Node: node, Build: ownVersion().Version, Log: h.Log,
		Server: f.tls.serverConfig(), Client: func() (*tls.Config, error) { return f.tls.clientConfig() },
		Rejections: actors.NewRejections(h.Log, nil),
	}, nil
}

// report tells the node what was turned away, for its metrics.
func report(ctx context.Context, node bhnodev1.NodeClient, r *actors.Rejections) {
	told := map[string]uint64{}
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		counts, fresh := r.Counts(), map[string]uint64{}
		for reason, n := range counts {
			if n > told[reason] {
				fresh[reason] = n - told[reason]
			}
		}
		if len(fresh) == 0 {
			continue
		}
		if _, err := node.ReportRejections(ctx, &bhnodev1.ReportRejectionsRequest{Rejections: fresh}); err == nil {
			told = counts
		}
	}
}
