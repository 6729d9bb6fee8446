// Command tooling is an example of cluster tooling that is itself made of actors: a second
// actor system, which asks a node for its tree, follows its events, restarts services, and
// is told when the node goes away. docs/api.md walks through it.
//
//	tooling --node 10.0.0.5:8900 --listen 10.0.0.9:8900 --ca ca.pem --cert fleet.example.pem --key fleet.example.key events
//	tooling … tree
//	tooling … restart ledger
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// answerTime is how long the node may take to do what it is asked.
const answerTime = 30 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tooling:", err)
		os.Exit(1)
	}
}

func run() error {
	node := flag.String("node", "", "remote.advertise of the node")
	listen := flag.String("listen", "", "our address, the remote_address of our certificate")
	ca, cert, key := flag.String("ca", "", "CA of all certificates"), flag.String("cert", "", "our certificate"), flag.String("key", "", "its key")
	after := flag.Uint64("after", 0, "events: only those with a greater number")
	flag.Parse()

	system, err := start(*listen, *ca, *cert, *key)
	if err != nil {
		return err
	}
	gateway := actor.NewPID(*node, "node")
	switch flag.Arg(0) {
	case "tree":
		return ask(system, gateway, &bhnodev1.GetTreeRequest{})
	case "hello":
		return ask(system, gateway, &bhnodev1.HelloRequest{})
	case "restart":
		return ask(system, gateway, &bhnodev1.RestartServicesRequest{Names: flag.Args()[1:]})
	case "events":
		system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &watcher{node: gateway, last: *after} }))
		select {}
	}
	return errors.New("say what: hello, tree, restart NAME… or events")
}

// start makes an actor system that speaks mutual TLS in both directions.
func start(listen, ca, cert, key string) (*actor.ActorSystem, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	host, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	settings := remote.Configure(host, port,
		remote.WithServerOptions(grpc.Creds(credentials.NewTLS(config))),
		// A cable that was cut is noticed after 15 s.
		remote.WithDialOptions(grpc.WithTransportCredentials(credentials.NewTLS(config)),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true})),
		remote.WithEndpointWriterQueueSize(64), remote.WithEndpointManagerQueueSize(64),
	)
	settings.MaxRetryCount = 1                 // more than one leaks connections
	remote.NewRemote(system, settings).Start() // before anything is spawned
	return system, nil
}

// ask prints what the node answers.
func ask(system *actor.ActorSystem, node *actor.PID, request proto.Message) error {
	answer, err := system.Root.RequestFuture(node, request, answerTime).Result()
	if err != nil {
		return err
	}
	switch m := answer.(type) {
	case *bhnodev1.Failure:
		return fmt.Errorf("%s", m.GetMessage())
	case proto.Message:
		fmt.Println(protojson.Format(m))
		return nil
	}
	return fmt.Errorf("unexpected %T", answer)
}
