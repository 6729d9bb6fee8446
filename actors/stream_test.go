package actors

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/logstore"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

func TestShutdownEndsTheNodeAndItsStreams(t *testing.T) {
	for name, now := range map[string]bool{"in order": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, def{name: "db"})
			cfg.Logs.Dir, cfg.Logs.MaxSize, cfg.Logs.MaxFiles = t.TempDir(), 1<<20, 2
			s := serve(t, cfg).up()
			events, err := s.StreamEvents(s.ctx(), &bhnodev1.StreamEventsRequest{Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			logs, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			s.back.last("db").plan.deaf = now
			s.back.last("db").say("hi")
			if _, err := logs.Recv(); err != nil { // it follows
				t.Fatal(err)
			}
			if _, err := events.Recv(); err != nil {
				t.Fatal(err)
			}
			s.back.last("db").say("bye")
			if _, err := s.Shutdown(s.ctx(), &bhnodev1.ShutdownRequest{Now: now}); err != nil {
				t.Fatal(err)
			}
			if o := <-s.node.Ended(); o.Why != supervision.EndOrdered {
				t.Errorf("got %+v", o)
			}
			s.node.Close()
			last := ""
			for err == nil {
				var m *bhnodev1.StreamEventsResponse
				if m, err = events.Recv(); err == nil {
					last = m.GetEvents()[len(m.GetEvents())-1].GetType()
				}
			}
			if !errors.Is(err, io.EOF) || last != "node.stopped" {
				t.Errorf("the events ended with %v after %s, want the end of the node", err, last)
			}
			text := ""
			for err = nil; err == nil; {
				var m *bhnodev1.StreamLogsResponse
				if m, err = logs.Recv(); err == nil {
					text += string(m.GetEntries()[0].GetMessage())
				}
			}
			if !errors.Is(err, io.EOF) || text != "bye" {
				t.Errorf("the lines ended with %v after %q", err, text)
			}
			_, err = s.GetNode(s.ctx(), &bhnodev1.GetNodeRequest{})
			wantCode(t, err, codes.Unavailable)
			_, err = s.StopServices(s.ctx(), &bhnodev1.StopServicesRequest{Names: []string{"db"}})
			wantCode(t, err, codes.Unavailable)
			_, err = s.GetStatus(s.ctx(), &bhnodev1.GetStatusRequest{Names: []string{"db"}})
			wantCode(t, err, codes.Unavailable)
		})
	}
}

func TestEventsAreStreamed(t *testing.T) {
	s := serve(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}})).up()
	all, err := s.node.FollowEvents(s.ctx(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tail := uint32(3)
	middle := all[len(all)/2]
	var after, ofWeb []uint64
	for _, e := range all {
		if e.Seq > middle.Seq {
			after = append(after, e.Seq)
		}
		if e.Service == "web" {
			ofWeb = append(ofWeb, e.Seq)
		}
	}
	for name, tc := range map[string]struct {
		request *bhnodev1.StreamEventsRequest
		want    []uint64
	}{
		"after":        {&bhnodev1.StreamEventsRequest{After: middle.Seq}, after},
		"tail":         {&bhnodev1.StreamEventsRequest{Tail: &tail}, []uint64{all[len(all)-3].Seq, all[len(all)-2].Seq, all[len(all)-1].Seq}},
		"names":        {&bhnodev1.StreamEventsRequest{Names: []string{"web"}}, ofWeb},
		"since":        {&bhnodev1.StreamEventsRequest{Since: timestamppb.New(time.Now())}, nil},
		"tail of none": {&bhnodev1.StreamEventsRequest{Names: []string{"nobody"}, Tail: &tail}, nil},
	} {
		stream, err := s.StreamEvents(s.ctx(), tc.request)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range m.GetEvents() {
				got = append(got, e.GetSeq())
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// What a slow follower of events has lost is still in memory: it gets all, once.
func TestAFollowerOfEventsThatFellBehindLosesNone(t *testing.T) {
	s := serve(t, config(t, def{name: "db"})).up()
	stream, err := s.StreamEvents(s.ctx(), &bhnodev1.StreamEventsRequest{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	next := first.GetEvents()[len(first.GetEvents())-1].GetSeq() + 1
	last := next + 5000
	padding := strings.Repeat("x", 1000)
	for seq := next; seq <= last; seq++ {
		s.node.system.Root.Send(s.node.journalPID, writeEvents{[]eventRecord{{Seq: seq, Time: time.Now(), Type: "test", Message: padding}}})
	}
	if _, err := s.node.FollowEvents(s.ctx(), nil); err != nil { // all are published
		t.Fatal(err)
	}
	for next <= last {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.GetEvents() {
			if e.GetSeq() != next {
				t.Fatalf("got event %d, want %d", e.GetSeq(), next)
			}
			next++
		}
	}
}

func TestLogsAreStreamed(t *testing.T) {
	s := logging(t, nil, def{name: "a"}, def{name: "b"})
	say := func(name, stream, text string) {
		p := s.back.last(name)
		p.out[stream] <- []proc.Line{{Data: []byte(text)}}
		f := s.node.services.get(supervision.ChildID(name))
		for got, _ := s.node.LastLines(s.ctx(), name); len(got) == 0 || !strings.Contains(text, got[len(got)-1]); {
			got, _ = s.node.LastLines(s.ctx(), name)
		}
		if err := s.node.flushOne(s.ctx(), f.logPID); err != nil {
			t.Fatal(err)
		}
	}
	say("a", "stdout", "a1")
	say("b", "stdout", "b1")
	say("a", "stderr", "a2 bad")
	middle := time.Now()
	say("b", "stdout", `{"msg":"b2","level":"warn","user":"eve"}`)
	say("a", "stdout", "a3")
	n := func(i uint32) *uint32 { return &i }
	for name, tc := range map[string]struct {
		request *bhnodev1.StreamLogsRequest
		want    []string
	}{
		"all":          {&bhnodev1.StreamLogsRequest{}, []string{"a a1", "b b1", "a a2 bad", "b b2", "a a3"}},
		"one":          {&bhnodev1.StreamLogsRequest{Services: []string{"b", "b"}}, []string{"b b1", "b b2"}},
		"tail of all":  {&bhnodev1.StreamLogsRequest{Tail: n(3)}, []string{"a a2 bad", "b b2", "a a3"}},
		"tail of one":  {&bhnodev1.StreamLogsRequest{Services: []string{"a"}, Tail: n(1)}, []string{"a a3"}},
		"tail of none": {&bhnodev1.StreamLogsRequest{Tail: n(0)}, nil},
		"since":        {&bhnodev1.StreamLogsRequest{Since: timestamppb.New(middle)}, []string{"b b2", "a a3"}},
		"grep":         {&bhnodev1.StreamLogsRequest{Grep: "bad|eve"}, []string{"a a2 bad", "b b2"}},
		"stream":       {&bhnodev1.StreamLogsRequest{Stream: "stderr"}, []string{"a a2 bad"}},
		"long tail":    {&bhnodev1.StreamLogsRequest{Tail: n(100), Grep: "^a"}, []string{"a a1", "a a2 bad", "a a3"}},
	} {
		got, err := s.lines(tc.request)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
	}
	var want []string
	for _, letter := range "cdefghi" { // more than is kept while it is read
		text := strings.Repeat(string(letter), latestBytes/5)
		say("a", "stdout", text)
		want = append(want, "a "+text)
	}
	got, err := s.lines(&bhnodev1.StreamLogsRequest{Tail: n(6)})
	if err != nil || !slices.Equal(got, want[1:]) {
		t.Errorf("a tail of long lines: got %d lines, %v", len(got), err)
	}
	_, err = s.lines(&bhnodev1.StreamLogsRequest{Services: []string{"nobody"}})
	wantCode(t, err, codes.NotFound)
	_, err = s.lines(&bhnodev1.StreamLogsRequest{Grep: "("})
	wantCode(t, err, codes.InvalidArgument)
}

func TestLatest(t *testing.T) {
	last := latest{want: 2}
	for seq := uint64(1); seq <= 5; seq++ {
		_ = last.add(logstore.Entry{Seq: seq, Message: make([]byte, latestBytes/3)})
	}
	if last.many || last.found != 5 || len(last.entries) != 2 || last.entries[0].Seq != 4 || last.entries[1].Seq != 5 {
		t.Errorf("%d found, the last %d are kept", last.found, len(last.entries))
	}
	_ = last.add(logstore.Entry{Seq: 6, Message: make([]byte, latestBytes)})
	_ = last.add(logstore.Entry{Seq: 7})
	if !last.many || last.found != 7 || last.entries != nil {
		t.Errorf("%d found, the last %d are kept, and are too many", last.found, len(last.entries))
	}
}

func TestARawLogHasNoStreamsToChooseFrom(t *testing.T) {
	s := logging(t, func(c *Config) { c.Logs.Raw = true }, def{name: "a"})
	_, err := s.lines(&bhnodev1.StreamLogsRequest{Stream: "stderr"})
	wantCode(t, err, codes.FailedPrecondition)
}

// While lines come, a stream that begins with the past goes on with the present:
// each line once, in order.
func TestThePastAndThePresentMeetUnderLoad(t *testing.T) {
	s := logging(t, nil, def{name: "a"}, def{name: "b"})
	const lines = 5000
	for _, name := range []string{"a", "b"} {
		p := s.back.last(name)
		go func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for i := 0; i < lines; i += 10 {
				<-pace.C
				batch := make([]proc.Line, 10)
				for k := range batch {
					batch[k].Data = fmt.Appendf(nil, "line %d", i+k+1)
				}
				p.out["stdout"] <- batch
			}
		}()
	}
	late := time.NewTicker(100 * time.Millisecond)
	defer late.Stop()
	done := make(chan error, 4)
	for range 4 {
		go func() { done <- s.follow(lines) }()
		<-late.C
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// follow reads the lines of a and b up to a number.
func (s *served) follow(upTo uint64) error {
	stream, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true})
	if err != nil {
		return err
	}
	next := map[string]uint64{"a": 1, "b": 1}
	for next["a"] <= upTo || next["b"] <= upTo {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetDropped() > 0 {
			return fmt.Errorf("%d were lost", m.GetDropped())
		}
		for _, e := range m.GetEntries() {
			if e.GetSeq() != next[e.GetService()] || string(e.GetMessage()) != fmt.Sprintf("line %d", e.GetSeq()) {
				return fmt.Errorf("got line %d %q of %s, want number %d", e.GetSeq(), e.GetMessage(), e.GetService(), next[e.GetService()])
			}
			next[e.GetService()]++
		}
	}
	return nil
}

func TestASlowFollowerOfLinesLosesAndIsToldAndHoldsNobodyUp(t *testing.T) {
	s := logging(t, nil, def{name: "a"})
	stream, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true, Grep: "x"})
	if err != nil {
		t.Fatal(err)
	}
	p := s.back.last("a")
	p.say("x first")
	if _, err := stream.Recv(); err != nil { // it follows
		t.Fatal(err)
	}
	long := strings.Repeat("x", 10<<10)
	const lines = 2000
	for range lines { // 20 MB, which nobody takes
		p.say(long)
	}
	last := make(chan struct{})
	go func() {
		defer close(last)
		for len(p.out["stdout"]) > 0 {
			_, _ = s.node.LastLines(s.ctx(), "a")
		}
		_ = s.node.flushOne(s.ctx(), s.node.services.get("a").logPID)
	}()
	<-last
	p.say("x last")
	var got, dropped uint64
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got += uint64(len(m.GetEntries()))
		dropped += m.GetDropped()
		if n := len(m.GetEntries()); n > 0 && string(m.GetEntries()[n-1].GetMessage()) == "x last" || got+dropped == lines+1 {
			break
		}
	}
	if dropped == 0 || got+dropped > lines+1 {
		t.Errorf("got %d lines and %d lost of %d", got, dropped, lines+1)
	}
	p.exit(1, 0)
	s.await("service.exited", "a")
	kept, err := s.lines(&bhnodev1.StreamLogsRequest{})
	if err != nil || len(kept) != lines+2 {
		t.Errorf("on disk: %d lines, %v, want all %d", len(kept), err, lines+2)
	}
}

// A message of several long lines was more than a client takes.
func TestLongLinesFitIntoMessages(t *testing.T) {
	s := logging(t, nil, def{name: "a"})
	p := s.back.last("a")
	long := strings.Repeat("x", 1<<20)
	p.say(long, long, long, long, long, long)
	s.say("a", "end")
	stream, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 7; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		n += len(m.GetEntries())
	}
}
