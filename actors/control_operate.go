package actors

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// operateOrForetell has a command carried out, or only says what it would bring about.
func (s *Control) operateOrForetell(ctx context.Context, m operate, dry bool) (*bhnodev1.Consequence, error) {
	if !dry {
		return nil, s.operate(ctx, m)
	}
	if err := s.admissible(m); err != nil {
		return nil, err
	}
	mem, err := askNow(ctx, s.node.root, func(reply chan<- supervision.Memory) any { return askMemory{reply} })
	if err != nil {
		return nil, toStatus(err)
	}
	got := supervision.Foretell(s.node.cfg.Tree, s.node.options(), mem, time.Now(), supervision.Operate{Op: m.op, IDs: m.ids, All: m.all, Only: m.only})
	if got.Err != nil {
		return nil, toStatus(got.Err)
	}
	return &bhnodev1.Consequence{Stops: inWaves(got.Stop), Starts: inWaves(got.Start)}, nil
}

func inWaves(waves [][]supervision.ChildID) []*bhnodev1.Wave {
	var out []*bhnodev1.Wave
	for _, wave := range waves {
		w := &bhnodev1.Wave{}
		for _, id := range wave {
			w.Services = append(w.Services, string(id))
		}
		out = append(out, w)
	}
	return out
}

// operate sends an operator's command to root and waits for its answer.
func (s *Control) operate(ctx context.Context, m operate) error {
	if err := s.admissible(m); err != nil {
		return err
	}
	m.who, m.text = who(ctx), m.words()
	err, gone := ask(ctx, s.node.root, func(reply chan<- error) any {
		m.reply = reply
		return m
	})
	return toStatus(errors.Join(gone, err))
}

// admissible says what is wrong with a command before root hears of it.
func (s *Control) admissible(m operate) error {
	if len(m.ids) == 0 && !m.all {
		return status.Error(codes.InvalidArgument, "no service is named")
	}
	for _, id := range m.ids {
		if id == "" {
			return status.Error(codes.InvalidArgument, "a name is empty")
		}
		if svc := s.node.services.get(id); svc != nil && !svc.Enabled {
			return status.Errorf(codes.FailedPrecondition, "%s is disabled in the configuration", id)
		}
	}
	return nil
}

// words is the command as it would be typed.
func (m operate) words() string {
	verb := map[supervision.Operation]string{
		supervision.OpStart: "start", supervision.OpStop: "stop", supervision.OpRestart: "restart",
		supervision.OpPause: "pause", supervision.OpResume: "resume",
	}[m.op]
	words := []string{verb}
	for _, id := range m.ids {
		words = append(words, string(id))
	}
	if m.all {
		words = append(words, "--all")
	}
	if m.only {
		words = append(words, "--only")
	}
	return strings.Join(words, " ")
}

func ids(names []string) []supervision.ChildID {
	out := make([]supervision.ChildID, len(names))
	for i, n := range names {
		out[i] = supervision.ChildID(n)
	}
	return out
}
