// Command example is a whole Blackhole service: it registers a gRPC service of its
// own on the host, and everything else (health, reflection, waiting for its
// dependencies, logs, draining) is the host's. Run it under a node as
//
//	services:
//	  greeter:
//	    command: [go, run, ./proto/host/example]
//	    unix_socket: greeter.sock
//
// or alone, where BLACKHOLE_SOCKET=greeter.sock stands in for the node.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/proto/host"
	examplev1 "github.com/blackhole/bhnode/proto/host/example/v1"
)

func main() {
	options, err := host.FromEnv(os.Environ(), os.Stdout)
	if err == nil {
		options.Register = register(options.Log)
		err = host.Run(context.Background(), options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// register returns what adds the greeter to a server of the host.
func register(log zerolog.Logger) func(*grpc.Server) {
	return func(s *grpc.Server) { examplev1.RegisterGreeterServiceServer(s, &greeter{log: log}) }
}

// greeter is the service's own API.
type greeter struct {
	examplev1.UnimplementedGreeterServiceServer

	log zerolog.Logger
}

// Greet answers with a greeting.
func (g *greeter) Greet(_ context.Context, req *examplev1.GreetRequest) (*examplev1.GreetResponse, error) {
	if req.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name is empty")
	}
	g.log.Debug().Str("name", req.GetName()).Msg("greeted")
	return &examplev1.GreetResponse{Greeting: "Hello, " + req.GetName() + "!"}, nil
}
