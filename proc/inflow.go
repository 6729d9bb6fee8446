package proc

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// inflow is one stream of a service on its way into its Intake.
type inflow struct {
	in      *Intake
	stream  int
	deliver Deliver
	c       cutter
}

// carry moves the rest, which was not delivered, into the half that is not in use
// once it is worth it, and begins there. What was delivered before is given up, unless it
// is still on its way to the log; then nothing is moved, while there is room.
func (f *inflow) carry() error {
	in, c := f.in, &f.c
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.ensure(); err != nil {
		return errors.Join(errIntake, err)
	}
	s := in.now.Streams[f.stream]
	rest := c.buf[c.done:]
	if c.buf == nil {
		c.buf = in.half(f.stream, s.Half)[s.Start-s.Base : s.End-s.Base : intakeHalf]
		if s.Start == s.End { // nothing is left: from the beginning
			c.buf = in.half(f.stream, 0)[:0]
			in.change(func(m *mark) { m.Streams[f.stream] = streamMark{Base: s.End, Start: s.End, End: s.End} })
		}
		return nil
	}
	if c.done < intakePage || c.done < len(rest) && intakeHalf-len(c.buf) >= readBlock {
		return nil
	}
	half := 1 - s.Half
	if len(rest) == 0 {
		half = s.Half
	}
	if err := in.makeRoom(f.stream, half, len(rest)); err != nil {
		return errors.Join(errIntake, err)
	}
	to := in.half(f.stream, half)
	copy(to, rest)
	begin := s.End - uint64(len(rest))
	in.change(func(m *mark) {
		m.Streams[f.stream] = streamMark{Half: half, Base: begin, Start: begin, End: s.End}
	})
	c.buf, c.sought, c.done = to[:len(rest)], c.sought-c.done, 0
	return nil
}

// read reads what is there behind what there is, or waits for it, as Output.readWithin does.
func (f *inflow) read(o *Output) (n int, err error) {
	for {
		n, err = f.try(o)
		if !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
		if err := o.awaitReady(f.c.patience()); err != nil {
			return 0, err
		}
	}
}

// try marks the read before it is made, and after.
func (f *inflow) try(o *Output) (int, error) {
	in, c := f.in, &f.c
	at := len(c.buf)
	n := min(max(o.there(), 1), pipeSize, cap(c.buf)-at)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.mapped == nil {
		return 0, errIntake
	}
	s := in.now.Streams[f.stream]
	if err := in.makeRoom(f.stream, s.Half, at+n); err != nil {
		return 0, errIntake
	}
	to := c.buf[at : at+n]
	in.fill(to)
	in.change(func(m *mark) { m.Streams[f.stream].Pending = uint64(n) }) //nolint:gosec // not negative
	got, err := o.try(to)
	in.change(func(m *mark) {
		m.Streams[f.stream].End += uint64(got) //nolint:gosec // not negative
		m.Streams[f.stream].Pending = 0
	})
	return got, err
}

// errIntake says that output cannot be kept safe any more.
var errIntake = errors.New("there is no room to keep output safe")

// position is that of the end of what was delivered.
func (f *inflow) position() uint64 {
	f.in.mu.Lock()
	defer f.in.mu.Unlock()
	return f.in.now.Streams[f.stream].End - uint64(len(f.c.buf)-f.c.done) //nolint:gosec // not negative
}

// Deliver takes lines. waits says that an Intake is to keep them until it is told that
// they have landed.
type Deliver func(at time.Time, lines []Line, upTo uint64) (waits bool)

// CaptureSafe is Capture for an Output whose service has an Intake: what it delivers, up
// to a position, stays there until Intake.Landed is told of that, or until deliver says
// that nobody waits for it.
// With goesOn the stream is that of an adopted process; else what is left ends here.
func CaptureSafe(o *Output, in *Intake, stream string, goesOn bool, deliver Deliver) {
	captureSafe(o, in, stream, goesOn, false, deliver)
}

func captureSafe(o *Output, in *Intake, stream string, goesOn, joined bool, deliver Deliver) {
	f := &inflow{in: in, stream: streamNo(stream), deliver: deliver, c: cutter{joined: joined}}
	if !in.made() && !o.await() {
		return // many services say nothing, and need no file
	}
	if f.carry() != nil {
		f.c.capture(o, f.unsafely)
		return
	}
	f.hand(time.Now(), f.c.wrote(0)) // read by an earlier bhnode
	if !goesOn {
		f.end(time.Now())
	}
	for {
		err := f.carry()
		n := 0
		if err == nil {
			n, err = f.read(o)
		}
		at := time.Now()
		if n > 0 {
			f.hand(at, f.c.wrote(n))
		}
		switch {
		case errors.Is(err, errIntake): // from here on a bhnode that is killed may lose some
			f.c.buf = append(make([]byte, 0, cap(f.c.buf)), f.c.buf...)
			f.c.capture(o, f.unsafely)
			return
		case errors.Is(err, errQuiet):
			f.hand(at, f.c.begun())
			continue
		case err != nil:
			f.end(at)
			return
		}
		if n < smallRead {
			time.Sleep(readPause)
		}
	}
}

// hand delivers lines, if there are any.
func (f *inflow) hand(at time.Time, lines []Line) {
	if len(lines) == 0 {
		return
	}
	if upTo := f.position(); !f.deliver(at, lines, upTo) {
		f.in.pass(f.stream, upTo)
	}
}

// end delivers what the end of a stream left without its newline.
func (f *inflow) end(at time.Time) {
	last := f.c.rest()
	f.c.done, f.c.sought = len(f.c.buf), len(f.c.buf)
	f.hand(at, last)
}

func (f *inflow) unsafely(at time.Time, lines []Line) { f.deliver(at, lines, 0) }

// pass gives up what was delivered up to a position.
func (in *Intake) pass(stream int, upTo uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.change(func(m *mark) {
		s := &m.Streams[stream]
		s.Start = min(max(s.Start, upTo), s.End)
	})
}
