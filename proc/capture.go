package proc

import (
	"bytes"
	"errors"
	"io"
	"time"
)

const (
	readBlock = 64 << 10
	lineMost  = 1 << 20
	// A read of less than smallRead is followed by a pause: the pipe fills meanwhile,
	// and a writer of single lines costs a sixth of the wake-ups.
	smallRead = 32 << 10
	readPause = 200 * time.Microsecond
	// lineWait is how long a line may go on without a word until it is shown as far as it goes:
	// a prompt, or what somebody says before hanging.
	lineWait = time.Second
	// stdioBlock divides what a program's own buffer writes when it is full, mostly amid a line:
	// that is no prompt, and the rest comes with the next block.
	stdioBlock = 1024
)

// Line is one line of output, or a part of it.
type Line struct {
	Data      []byte // without its newline
	Partial   bool   // the next one goes on where it ends
	NoNewline bool   // the output ended here, without a newline
	// Joined is how many lines more Data holds, a newline before each: of output that is
	// captured joined.
	Joined int
}

// Capture reads r, an Output, to its end or read deadline, and delivers what it reads as
// lines: at once, in order, nothing left out. A line over 1 MiB comes in parts of 1 MiB, and
// one of an Output that does not go on for a second in what there is of it, and the rest.
// The time is that of the read. While deliver blocks nothing is read, so in the end
// the writer waits. Data is valid only during deliver.
func Capture(r io.Reader, deliver func(at time.Time, lines []Line)) {
	var c cutter
	c.capture(r, deliver)
}

func (c *cutter) capture(r io.Reader, deliver func(at time.Time, lines []Line)) {
	for {
		n, err := c.read(r)
		at := time.Now()
		if errors.Is(err, errQuiet) {
			deliver(at, c.begun())
			continue
		}
		if n > 0 {
			if lines := c.wrote(n); len(lines) > 0 {
				deliver(at, lines)
			}
		}
		if err != nil {
			if last := c.rest(); len(last) > 0 {
				deliver(at, last)
			}
			return
		}
		if n < smallRead {
			time.Sleep(readPause)
		}
	}
}

// read reads more, or says with errQuiet that a line does not go on.
func (c *cutter) read(r io.Reader) (int, error) {
	if o, ok := r.(*Output); ok {
		return o.readWithin(c.space(), c.patience())
	}
	return r.Read(c.space())
}

// cutter cuts a stream into lines.
type cutter struct {
	buf    []byte // what was read, from the beginning of the first line not delivered
	done   int    // bytes of buf that were delivered
	sought int    // bytes of buf known to hold no newline beyond done
	joined bool   // all lines of a read are delivered as one
	open   bool   // a part was delivered of a line that had only begun
	block  bool   // what was read last are whole blocks of a program's buffer
	lines  []Line
}

// space returns where to read the next block to. It invalidates the lines delivered before.
func (c *cutter) space() []byte {
	if c.done > 0 {
		c.buf = c.buf[:copy(c.buf, c.buf[c.done:])]
		c.sought -= c.done
		c.done = 0
	}
	if cap(c.buf)-len(c.buf) < readBlock || len(c.buf) == 0 && cap(c.buf) > 2*readBlock {
		size := 2 * readBlock // a long line doubles it, its end gives it back
		for size < len(c.buf)+readBlock {
			size *= 2
		}
		c.buf = append(make([]byte, 0, size), c.buf...)
	}
	return c.buf[len(c.buf) : len(c.buf)+readBlock]
}

// wrote takes n more bytes from the space and returns the lines that are complete.
func (c *cutter) wrote(n int) []Line {
	c.buf = c.buf[:len(c.buf)+n]
	c.lines = c.lines[:0]
	c.block = n > 0 && n%stdioBlock == 0
	if c.joined {
		return c.wroteJoined()
	}
	for {
		i := bytes.IndexByte(c.buf[c.sought:], '\n')
		if i < 0 {
			c.sought = len(c.buf)
			c.parts(len(c.buf))
			return c.lines
		}
		end := c.sought + i
		c.parts(end)
		c.lines = append(c.lines, Line{Data: c.buf[c.done:end]})
		c.done, c.sought, c.open = end+1, end+1, false
	}
}

// wroteJoined returns all lines that are complete as one.
func (c *cutter) wroteJoined() []Line {
	i := bytes.LastIndexByte(c.buf[c.sought:], '\n')
	if i < 0 {
		c.sought = len(c.buf)
		c.parts(len(c.buf))
		return c.lines
	}
	data := c.buf[c.done : c.sought+i]
	c.lines = append(c.lines, Line{Data: data, Joined: bytes.Count(data, []byte{'\n'})})
	c.done += len(data) + 1
	c.sought, c.open = len(c.buf), false
	c.parts(len(c.buf))
	return c.lines
}

// parts delivers as many parts as the line that reaches to end, at least, is too long.
func (c *cutter) parts(end int) {
	for end-c.done > lineMost {
		c.lines = append(c.lines, Line{Data: c.buf[c.done : c.done+lineMost], Partial: true})
		c.done += lineMost
	}
}

// patience is how long more may take to come; 0: for ever. Nobody prompts with JSON, which is
// of no use in parts.
func (c *cutter) patience() time.Duration {
	if c.done == len(c.buf) || c.block || c.buf[c.done] == '{' {
		return 0
	}
	return lineWait
}

// begun returns the beginning of a line that does not go on.
func (c *cutter) begun() []Line {
	begun := c.buf[c.done:]
	c.done, c.sought, c.open = len(c.buf), len(c.buf), true
	return []Line{{Data: begun, Partial: true}}
}

// rest returns the line that the end of the output left without its newline. A part has a
// rest, if an empty one, unless another bhnode takes over in between.
func (c *cutter) rest() []Line {
	if c.done == len(c.buf) && !c.open {
		return nil
	}
	c.open = false
	return []Line{{Data: c.buf[c.done:], NoNewline: true}}
}
