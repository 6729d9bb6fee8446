package main

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"github.com/asynkron/protoactor-go/scheduler"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

const (
	// again is how long after a loss it subscribes again.
	again = time.Second
	// silence is how long an answer may take: what is sent to another system can be lost.
	silence = 5 * time.Second
)

// watcher prints the events of a node, each once, however often the node or the network
// goes away.
type watcher struct {
	node       *actor.PID
	last       uint64 // the number of the last event
	try        int    // of subscribing
	subscribed bool
	up         bool // as was printed last
}

type (
	subscribe  struct{ try int }
	unanswered struct{ try int }
	lost       struct{}
)

// Receive implements actor.Actor.
func (w *watcher) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		// What ends the connection is published; a watch of the actor would tell it only
		// once for each.
		self, root := c.Self(), c.ActorSystem().Root
		c.ActorSystem().EventStream.Subscribe(func(event any) {
			if gone, ok := event.(*remote.EndpointTerminatedEvent); ok && gone.Address == w.node.GetAddress() {
				root.Send(self, lost{})
			}
		})
		w.subscribe(c)
	case subscribe:
		if m.try == w.try && !w.subscribed {
			w.subscribe(c)
		}
	case unanswered:
		if m.try == w.try && !w.subscribed {
			w.later(c)
		}
	case lost, *actor.DeadLetterResponse, *bhnodev1.Failure:
		w.later(c)
	case *bhnodev1.SubscribeResponse:
		if m.GetId() == w.id() {
			w.subscribed = true
			w.print(true)
		}
	case *bhnodev1.Publication:
		if m.GetId() != w.id() {
			return // of an earlier subscription
		}
		if m.GetEnded() != nil {
			w.later(c)
			return
		}
		for _, e := range m.GetEvents().GetEvents() {
			w.last = e.GetSeq()
			fmt.Println(e.GetSeq(), e.GetType(), e.GetService())
		}
	}
}

func (w *watcher) id() string { return fmt.Sprintf("events-%d", w.try) }

// subscribe asks for what came after the last event that was printed.
func (w *watcher) subscribe(c actor.Context) {
	if w.try > 0 { // the node may not have noticed
		c.Request(w.node, &bhnodev1.UnsubscribeRequest{Id: w.id()})
	}
	w.try++
	c.Request(w.node, &bhnodev1.SubscribeRequest{Id: w.id(), What: &bhnodev1.SubscribeRequest_Events{
		Events: &bhnodev1.StreamEventsRequest{Follow: true, After: w.last},
	}})
	w.after(c, silence, unanswered{w.try})
}

// later subscribes again in a while: under another name, so that what is still under way
// of the last one is not taken for news.
func (w *watcher) later(c actor.Context) {
	w.subscribed = false
	w.print(false)
	w.after(c, again, subscribe{w.try})
}

func (w *watcher) after(c actor.Context, d time.Duration, message any) {
	scheduler.NewTimerScheduler(c.ActorSystem().Root).SendOnce(d, c.Self(), message)
}

func (w *watcher) print(up bool) {
	if up == w.up {
		return
	}
	if w.up = up; up {
		fmt.Println("the node is there")
		return
	}
	fmt.Println("the node went away")
}
