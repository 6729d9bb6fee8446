package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// stage is a node without processes: the real supervision in virtual time, which
// ends at noon. Starts take 100 ms, stops 50 ms.
type stage struct {
	t      *testing.T
	m      *supervision.Machine
	root   supervision.SupervisorSpec
	now    time.Time
	due    []cue
	events []*bhnodev1.Event
	lives  map[supervision.ChildID]uint64
	doomed map[supervision.ChildID]supervision.ChildExited // how each start of it ends
	calls  uint64
	ended  []ending
}

// ending is an end that nothing in the story has brought about.
type ending struct {
	id    supervision.ChildID
	kind  supervision.ExitKind
	event int // the number of events before it
}

// cue is something that is due.
type cue struct {
	at time.Time
	do func()
}

// opens starts a node with that configuration and lets it come up.
func opens(t *testing.T, root supervision.SupervisorSpec, doomed map[supervision.ChildID]supervision.ChildExited) *stage {
	t.Helper()
	tree, err := supervision.Compile(root)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		t: t, m: supervision.New(tree, supervision.Options{}), root: root, now: noon.Add(-time.Hour),
		lives: map[supervision.ChildID]uint64{}, doomed: doomed,
	}
	s.send(supervision.Boot{Cause: s.note(supervision.NodeStarting, "shop.yaml")})
	s.until(time.Second)
	return s
}

func (s *stage) note(kind, message string, attrs ...supervision.Attr) uint64 {
	s.send(supervision.Note{Notice: supervision.Notice{Type: kind, Message: message, Attrs: attrs}})
	return s.events[len(s.events)-1].GetSeq()
}

func (s *stage) send(ev supervision.Event) {
	for _, cmd := range s.m.Step(s.now, ev) {
		s.carryOut(cmd)
	}
}

func (s *stage) carryOut(cmd supervision.Command) {
	switch c := cmd.(type) {
	case supervision.StartChild:
		s.lives[c.ID] = c.Incarnation
		s.after(20*time.Millisecond, func() {
			s.send(supervision.ChildStarted{ID: c.ID, Incarnation: c.Incarnation, Pid: 100})
		})
		s.after(100*time.Millisecond, func() {
			if e, fails := s.doomed[c.ID]; fails {
				s.over(c.ID, e)
				return
			}
			s.send(supervision.ChildReady(c))
		})
	case supervision.StopChild:
		s.after(50*time.Millisecond, func() {
			s.over(c.ID, supervision.ChildExited{Kind: supervision.ShutdownExit, Reason: c.Reason, Detail: "exit 0"})
		})
	case supervision.Wake:
		s.after(c.After, func() { s.send(supervision.BackoffOver{ID: c.ID, Token: c.Token}) })
	case supervision.Notice:
		s.write(c)
	case supervision.AdoptChild, supervision.KillChild, supervision.Reply, supervision.Held, supervision.Booted, supervision.Ended,
		supervision.Managed, supervision.Report, supervision.SupervisorState, supervision.ChildJoined, supervision.ChildLeft, supervision.RolledOut:
	}
}

// ends is what happens to a service: it ends by itself.
func (s *stage) ends(id supervision.ChildID, e supervision.ChildExited) {
	s.ended = append(s.ended, ending{id, e.Kind, len(s.events)})
	s.over(id, e)
}

// over ends the present life of a service.
func (s *stage) over(id supervision.ChildID, e supervision.ChildExited) {
	e.ID, e.Incarnation = id, s.lives[id]
	s.send(e)
}

func (s *stage) after(d time.Duration, do func()) {
	s.due = append(s.due, cue{s.now.Add(d), do})
	slices.SortStableFunc(s.due, func(a, b cue) int { return a.at.Compare(b.at) })
}

// until lets that much time pass.
func (s *stage) until(d time.Duration) {
	end := s.now.Add(d)
	for len(s.due) > 0 && !s.due[0].at.After(end) {
		next := s.due[0]
		s.due = s.due[1:]
		s.now = next.at
		next.do()
	}
	s.now = end
}

// ask is an operator's command.
func (s *stage) ask(op supervision.Operation, text string) {
	cause := s.note(supervision.OperatorCommand, text, supervision.Attr{Key: "who", Value: "uid 1000"})
	s.calls++
	words := strings.Fields(text)[1:]
	e := supervision.Operate{Call: s.calls, Op: op, Cause: cause}
	for _, w := range words {
		e.IDs = append(e.IDs, supervision.ChildID(w))
	}
	s.send(e)
}

func (s *stage) write(n supervision.Notice) {
	e := &bhnodev1.Event{
		Seq: n.Seq, Time: timestamppb.New(s.now), Type: n.Type, Service: string(n.Service), Supervisor: string(n.Supervisor),
		Incarnation: n.Incarnation, Pid: int32(n.Pid), Cause: n.Cause, Message: n.Message, Attrs: &structpb.Struct{Fields: map[string]*structpb.Value{}},
	}
	for _, a := range n.Attrs {
		value := a.Value
		if names, ok := value.([]string); ok {
			list := make([]any, len(names))
			for i, name := range names {
				list[i] = name
			}
			value = list
		}
		v, err := structpb.NewValue(value)
		if err != nil {
			s.t.Fatal(err)
		}
		e.Attrs.Fields[a.Key] = v
	}
	s.events = append(s.events, e)
}

// node is the stage as the API shows it.
func (s *stage) node() *fakeNode {
	views := map[supervision.ChildID]supervision.View{}
	for _, v := range s.m.Snapshot(s.now) {
		views[v.ID] = v
	}
	n := &fakeNode{events: s.events}
	for _, e := range n.events { // the last scene plays at noon
		e.Time = timestamppb.New(e.GetTime().AsTime().Add(noon.Sub(s.now)))
	}
	n.tree = s.branch(n, supervision.ChildSpec{ID: s.root.ID, Supervisor: &s.root}, views)
	return n
}

func (s *stage) branch(n *fakeNode, spec supervision.ChildSpec, views map[supervision.ChildID]supervision.View) *bhnodev1.TreeNode {
	v := views[spec.ID]
	out := &bhnodev1.TreeNode{Name: string(spec.ID), State: stageState(v.State), Paused: v.Paused}
	if spec.Supervisor == nil {
		svc := &bhnodev1.Service{
			Name: string(spec.ID), State: stageState(v.State), Incarnation: v.Incarnation, Held: v.Held, Wanted: v.Wanted, Message: v.Detail,
			Reason: bhnodev1.Reason(bhnodev1.Reason_value["REASON_"+strings.ToUpper(string(v.Reason))]),
		}
		for _, d := range spec.DependsOn {
			svc.DependsOn = append(svc.DependsOn, string(d.On))
		}
		n.services = append(n.services, svc)
		return out
	}
	for _, c := range spec.Supervisor.Children {
		out.Children = append(out.Children, s.branch(n, c, views))
	}
	return out
}

func stageState(s supervision.State) bhnodev1.ServiceState {
	return bhnodev1.ServiceState(bhnodev1.ServiceState_value["SERVICE_STATE_"+strings.ToUpper(string(s))])
}

// player is a service that needs others, with a back-off of one second.
func player(id string, needs ...string) supervision.ChildSpec {
	c := supervision.ChildSpec{
		ID: supervision.ChildID(id), Backoff: supervision.Backoff{Initial: time.Second, Max: time.Minute, Factor: 2, ResetAfter: time.Minute},
		Intensity: &supervision.Intensity{Max: 2, Period: time.Hour},
	}
	for _, n := range needs {
		c.DependsOn = append(c.DependsOn, supervision.Dependency{On: supervision.ChildID(n), Restart: true})
	}
	return c
}

func troupe(id string, strategy supervision.Strategy, children ...supervision.ChildSpec) supervision.SupervisorSpec {
	return supervision.SupervisorSpec{
		ID: supervision.ChildID(id), Strategy: strategy, Order: supervision.Graph, Children: children,
		Intensity: supervision.Intensity{Max: 1, Period: time.Minute},
	}
}

func troupeIn(s supervision.SupervisorSpec) supervision.ChildSpec {
	return supervision.ChildSpec{ID: s.ID, Supervisor: &s, Shutdown: supervision.Shutdown{Mode: supervision.Infinity}}
}

// How lives end.
var (
	byKill   = supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonSignal, Detail: "SIGKILL"}
	byOOM    = supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonOOM, Detail: "SIGKILL, out of memory, memory_mb 64"}
	byCode   = supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonExit, Detail: "exit 3"}
	byProbe  = supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonProbe, Detail: "3 checks in a row failed: connection refused"}
	bySlow   = supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonStartTimeout, Detail: "not healthy within 30s: connection refused"}
	byAbsent = supervision.ChildExited{
		Kind: supervision.Abnormal, Reason: supervision.ReasonSpawnError, Detail: "spawn: exec /opt/bank: no such file or directory", Hopeless: true,
	}
	byItself = supervision.ChildExited{Kind: supervision.Normal, Reason: supervision.ReasonExit, Detail: "exit 0"}
)
