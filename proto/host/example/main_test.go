package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/proto/host"
	examplev1 "github.com/blackhole/bhnode/proto/host/example/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "greeter.sock")

	options, err := host.FromEnv([]string{"BLACKHOLE_SERVICE=greeter", "BLACKHOLE_SOCKET=" + socket}, io.Discard)
	if err != nil {
		fmt.Println(err)
		return
	}
	options.Register = register(options.Log)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error)
	go func() { ended <- host.Run(ctx, options) }()

	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	answer, err := examplev1.NewGreeterServiceClient(conn).
		Greet(ctx, &examplev1.GreetRequest{Name: "node"}, grpc.WaitForReady(true))
	fmt.Println(answer.GetGreeting(), err)

	stop()
	fmt.Println(<-ended)
	// Output:
	// Hello, node! <nil>
	// <nil>
}

func TestGreetNeedsAName(t *testing.T) {
	_, err := (&greeter{}).Greet(t.Context(), &examplev1.GreetRequest{})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v, want InvalidArgument", err)
	}
}
