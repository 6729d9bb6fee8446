package client_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// oneService stands in for a node.
type oneService struct {
	bhnodev1.UnimplementedNodeServer
}

func (oneService) GetStatus(context.Context, *bhnodev1.GetStatusRequest) (*bhnodev1.GetStatusResponse, error) {
	return &bhnodev1.GetStatusResponse{Node: "node-1", Services: []*bhnodev1.Service{
		{Name: "identity", State: bhnodev1.ServiceState_SERVICE_STATE_RUNNING, Health: bhnodev1.Health_HEALTH_HEALTHY},
	}}, nil
}

func Example() {
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "bhnode.sock")

	_, err = client.Dial(client.Options{Socket: socket})
	fmt.Println("before the node runs:", client.IsNoNode(err))

	lis, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := grpc.NewServer()
	bhnodev1.RegisterNodeServer(server, oneService{})
	go func() { _ = server.Serve(lis) }()
	defer server.Stop()

	node, err := client.Dial(client.Options{Socket: socket})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	answer, err := node.GetStatus(context.Background(), &bhnodev1.GetStatusRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range answer.GetServices() {
		fmt.Println(s.GetName(), s.GetState(), s.GetHealth())
	}
	// Output:
	// before the node runs: true
	// identity SERVICE_STATE_RUNNING HEALTH_HEALTHY
}
