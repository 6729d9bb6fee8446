// Package gateway is the actor endpoint of a node, for tooling that is itself made of
// protoactor actors. It runs in a process of its own, "bhnode gateway", because one packet
// can end a process that has protoactor's remote in it; that costs nothing here, and the
// node restarts it as it does any service.
//
// Who comes in has passed, from outside in:
//
//	actors.Entrance   so many connections at a time; TLS, with a certificate of our CA
//	gate              one stream guard: who is not named with an address is turned away, and
//	                  so is all but messages of the API from that address to the actor "node"
//	node              the one actor: a request becomes a call of the node's control API, on
//	                  behalf of the certificate, and the answer a message
//	dialler           dials nobody but the addresses of those certificates
//
// One message to a peer is under way at a time: the next follows when gRPC has taken it. So
// a peer that does not read costs what its queue holds, and subscriptions wait for it.
package gateway
