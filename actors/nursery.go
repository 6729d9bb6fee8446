package actors

import (
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// respawnTime is how long an actor must have lived to be replaced at once, and how
// long the place of a younger one stays empty.
const respawnTime = time.Second

// nursery spawns the children of an actor and sees which of them need a successor,
// since they panicked.
type nursery struct {
	stopFailed
	node      *nodeContext
	producers map[string]func() actor.Actor
	births    map[string]time.Time
}

func newNursery(n *nodeContext, producers map[string]func() actor.Actor) nursery {
	return nursery{node: n, producers: producers, births: map[string]time.Time{}}
}

// respawn: the place of a child was empty for long enough.
type respawn struct{ name string }

// spawn starts the actor of a child.
func (n *nursery) spawn(c actor.Context, name string) *actor.PID {
	n.births[name] = time.Now()
	props := actor.PropsFromProducer(n.producers[name], n.node.guard(nil),
		actor.WithMailbox(n.node.mailboxes.of(name)), actor.WithDispatcher(crewOf(c.ActorSystem())))
	pid, err := c.SpawnNamed(props, name)
	if err != nil {
		panic(err) //nolint:forbidigo // a name of ours that is taken: a bug
	}
	return pid
}

// nameOf is the name of a child.
func (n *nursery) nameOf(c actor.Context, child *actor.PID) string {
	return strings.TrimPrefix(child.GetId(), c.Self().GetId()+"/")
}

// lost tells whether a child that has ended is to be spawned again at once. Else a
// respawn comes: an actor that panics as soon as it is there must not take the
// machine with it.
func (n *nursery) lost(c actor.Context, name string) (now bool) {
	if time.Since(n.births[name]) >= respawnTime {
		return true
	}
	var due alarm
	due.set(c, respawnTime, respawn{name})
	return false
}
