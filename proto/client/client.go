package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

const (
	connectTimeout = 5 * time.Second
	// maxMessage holds the status of some 100,000 services.
	maxMessage = 64 << 20
)

// retry is how soon a connection that was lost is made again: a node is soon back.
var retry = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}

// Options say which node. One of Socket and Address is set.
type Options struct {
	// Socket is the path of the node's control socket.
	Socket string
	// Address is HOST:PORT of the node's control listener, which speaks TLS only.
	Address string
	// TLS holds the client's certificate and what it trusts; it goes with Address.
	TLS *tls.Config
}

// Client is a connection to a node and its API.
type Client struct {
	bhnodev1.NodeClient

	conn *grpc.ClientConn
}

// Dial connects to a node. If nothing answers there, IsNoNode says so of the error;
// if the answer may not come from a node of ours, or we may not ask, IsDenied does.
func Dial(o Options) (*Client, error) {
	target, err := targetOf(o)
	if err != nil {
		return nil, err
	}
	// gRPC connects late and keeps only the text of what fails then, so what callers
	// act on is found out here.
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if err := target.check(ctx); err != nil {
		return nil, err
	}

	return connect(target)
}

// New is Dial without the look whether a node answers: the connection is made with the first
// call, and again after it was lost.
func New(o Options) (*Client, error) {
	target, err := targetOf(o)
	if err != nil {
		return nil, err
	}
	return connect(target)
}

func connect(target target) (*Client, error) {
	conn, err := grpc.NewClient("passthrough:///"+target.host,
		grpc.WithTransportCredentials(target.credentials()),
		grpc.WithContextDialer(target.dial),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the node: %w", err)
	}
	return &Client{NodeClient: bhnodev1.NewNodeClient(conn), conn: conn}, nil
}

// Close ends the connection and every call on it.
func (c *Client) Close() error { return c.conn.Close() }

// IsNoNode says whether err means that no node answers.
func IsNoNode(err error) bool {
	_, ok := errors.AsType[*noNodeError](err)
	return ok || status.Code(err) == codes.Unavailable
}

// IsDenied says whether err means that the node may not be asked, or not for this, or
// that it is no node of ours.
func IsDenied(err error) bool {
	_, ok := errors.AsType[*deniedError](err)
	code := status.Code(err)
	return ok || code == codes.PermissionDenied || code == codes.Unauthenticated
}

// noNodeError is an address at which nothing answers.
type noNodeError struct {
	address string
	err     error
}

func (e *noNodeError) Error() string {
	return fmt.Sprintf("no node answers at %s: %v", e.address, e.err)
}
func (e *noNodeError) Unwrap() error { return e.err }

// deniedError is a peer that is not talked to.
type deniedError struct {
	what string
	err  error // nil: what says it all
}

func (e *deniedError) Error() string {
	if e.err == nil {
		return e.what
	}
	return fmt.Sprintf("%s: %v", e.what, e.err)
}
func (e *deniedError) Unwrap() error { return e.err }
