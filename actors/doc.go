// Package actors carries: it turns the commands of supervision into processes,
// probes and timers, and what happens to those into events for supervision.
//
//	actor                 owns                                      its parent
//	root                  the supervision.Machine, operator calls   –
//	root/…/SUPERVISOR     nothing but its children; it relays       the supervisor above
//	root/…/SERVICE        the service's present incarnation         its supervisor
//	records               nothing but its children                  –
//	records/journal       the event journal, its followers          records
//	records/log/SERVICE   a service's log, its followers            records
//
// Commands go down from root along the tree, events go up. No Receive blocks:
// what takes longer than a moment runs in a goroutine that holds copies and
// sends one message back (bridge.go has the only ones). Every message about a
// life of a service carries its incarnation, since a message that is late is
// delivered to whoever has the name by then.
//
// protoactor's restarts are not used. An actor that panics, or whose goroutine
// does, is stopped by its parent, which starts a new one in its place; what must
// not end with an actor is kept beside it: the process of a service in its body,
// logs and journal in their books. A service's new actor ends the process that it
// finds and reports that as an abnormal end. A panic in root ends the node.
package actors
