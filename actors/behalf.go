package actors

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// The metadata of a call that the gateway makes for the owner of a certificate.
const (
	behalfName = "bhnode-certificate"
	behalfFrom = "bhnode-from"
)

// OnBehalf returns a context for calls to a node that are those of the owner of a
// certificate, who is connected from an address: they get no more than what the node lets
// that certificate do, and the journal names it. A node heeds this of root and of
// its own user only, on its control socket.
func OnBehalf(ctx context.Context, name, from string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, behalfName, name, behalfFrom, from)
}

// represented is who a call is really of.
func represented(ctx context.Context, caller peerInfo) peerInfo {
	name := metadata.ValueFromIncomingContext(ctx, behalfName)
	if len(name) == 0 || !caller.own {
		return caller
	}
	caller.who, caller.role, caller.remote = "certificate "+name[0], caller.access.ofName(name[0]), true
	if len(name) > 1 {
		caller.role = Nobody
	}
	if from := metadata.ValueFromIncomingContext(ctx, behalfFrom); len(from) == 1 {
		caller.from = from[0]
	}
	return caller
}
