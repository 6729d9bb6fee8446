package host

import (
	"bytes"
	"context"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostv1 "github.com/blackhole/bhnode/proto/bhnode/host/v1"
)

// Level is what a logger logs from on; it may be changed while the service runs.
type Level struct {
	usual zerolog.Level
	now   atomic.Int32
}

func newLevel(usual zerolog.Level) *Level {
	l := &Level{usual: usual}
	l.SetDebug(false)
	return l
}

// SetDebug has everything from debug on be logged, or as it was at first. It returns the
// level.
func (l *Level) SetDebug(on bool) zerolog.Level {
	level := l.usual
	if on {
		level = min(level, zerolog.DebugLevel)
	}
	l.now.Store(int32(level))
	return level
}

// Run implements zerolog.Hook.
func (l *Level) Run(e *zerolog.Event, level zerolog.Level, _ string) {
	if level < zerolog.Level(l.now.Load()) { //nolint:gosec // as stored
		e.Discard()
	}
}

// longestProfile bounds what may be asked for.
const longestProfile = 10 * time.Minute

// partSize is how much of a profile goes into one message.
const partSize = 256 << 10

// inspector answers who looks into the service.
type inspector struct {
	hostv1.UnimplementedHostServer
	level *Level // nil: the service has a logger of its own
}

// SetDebug implements the API.
func (i inspector) SetDebug(_ context.Context, r *hostv1.SetDebugRequest) (*hostv1.SetDebugResponse, error) {
	if i.level == nil {
		return nil, status.Error(codes.FailedPrecondition, "the service has a logger of its own, whose level is not known here")
	}
	return &hostv1.SetDebugResponse{Level: i.level.SetDebug(r.GetOn()).String()}, nil
}

// Profile implements the API.
func (i inspector) Profile(r *hostv1.ProfileRequest, out grpc.ServerStreamingServer[hostv1.ProfileResponse]) error {
	var profile bytes.Buffer
	if r.GetCpu() == nil {
		if err := pprof.Lookup("heap").WriteTo(&profile, 0); err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		return send(profile.Bytes(), out)
	}
	d := r.GetCpu().AsDuration()
	if d <= 0 || d > longestProfile {
		return status.Errorf(codes.InvalidArgument, "a profile takes up to %v, not %v", longestProfile, d)
	}
	if err := pprof.StartCPUProfile(&profile); err != nil {
		return status.Error(codes.FailedPrecondition, err.Error()) // one is being made
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-out.Context().Done():
	}
	pprof.StopCPUProfile()
	return send(profile.Bytes(), out)
}

func send(data []byte, out grpc.ServerStreamingServer[hostv1.ProfileResponse]) error {
	for len(data) > 0 {
		n := min(len(data), partSize)
		if err := out.Send(&hostv1.ProfileResponse{Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
