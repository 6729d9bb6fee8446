package gateway

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
)

// Peer is who may come in: the owner of a certificate, whose actors are at an address.
type Peer struct {
	Name    string // the DNS name or URI that the certificate is for
	Role    string // what the node lets it do, for its information
	Address string // HOST:PORT, as its PIDs have it
}

// peer is what the actor knows of one.
type peer struct {
	*Peer
	from    string // where its present connection comes from
	link    *link
	queue   []outgoing // the first is under way if sending is not 0
	queued  int        // bytes
	number  uint64     // of the last message that was sent
	sending uint64
	timer   *time.Timer
	quiet   uint64        // not 0: nothing is sent until the pause of this number is over
	pauses  uint64        // so many have begun
	fresh   *rate.Limiter // of subscriptions
}

// outgoing is a message to one of its actors.
type outgoing struct {
	to      *actor.PID
	message proto.Message
	size    int
}

// link is one life of the connection with a peer: all of it ends at once.
type link struct {
	peer          *peer
	ctx           context.Context //nolint:containedctx // that of its calls
	cancel        context.CancelFunc
	calls         int
	subscriptions map[string]*subscription
	waiting       []chan<- struct{} // parts of subscriptions, until the queue is shorter
}

// subscription is what one actor of a peer is told.
type subscription struct {
	link   *link
	key    string
	to     *actor.PID
	cancel context.CancelFunc
}

func newLink(p *peer) *link {
	ctx, cancel := context.WithCancel(context.Background())
	return &link{peer: p, ctx: ctx, cancel: cancel, subscriptions: map[string]*subscription{}}
}

// used tells whether there is anything to end.
func (l *link) used() bool { return l.calls > 0 || len(l.subscriptions) > 0 }

// key names a subscription: each actor has its own.
func key(of *actor.PID, id string) string { return of.GetId() + "\x00" + id }

func (s *subscription) id() string { return s.key[len(s.to.GetId())+1:] }

// of are the subscriptions of one actor.
func (l *link) of(who *actor.PID) (all []*subscription) {
	for _, s := range l.subscriptions {
		if s.to.GetId() == who.GetId() {
			all = append(all, s)
		}
	}
	return all
}
