package configs

import (
	"fmt"
	"strings"
	"time"

	"github.com/blackhole/bhnode/supervision"
)

// limitWarnings names the limits that no crash loop can reach, since the back-off
// is too slow for them, in the order of the file.
func (d *decoder) limitWarnings(ds *drafts, t *tree) (texts []string) {
	w := &decoder{file: d.file}
	for _, s := range ds.list {
		if s.svc.Enabled {
			w.checkServiceLimit(s)
		}
	}
	for _, b := range t.order {
		w.checkSupervisorLimit(b)
	}
	for _, e := range inFileOrder(w.errs) {
		texts = append(texts, e.Error())
	}
	return texts
}

// checkServiceLimit looks at the limit of a service. Where on_exhausted is keep,
// reaching it or not makes no difference that lasts.
func (d *decoder) checkServiceLimit(s *draft) {
	c := s.svc.child
	if c.Intensity == nil || c.Restart == supervision.Temporary || c.OnExhausted == supervision.Keep {
		return
	}
	in := *c.Intensity
	n := restartsWithin(c.Backoff, in.Period, in.Max)
	if n > in.Max {
		return
	}
	key := writtenOf(s.restart, "max_restarts", "restart_window", "initial_delay")
	d.fail(s.restart.pos(key), s.restart.at(key), "",
		"more than %s within %s can never happen: with delays of %s there are at most %d, so on_exhausted never takes effect; lower max_restarts or widen restart_window",
		plural(in.Max, "restart"), supervision.FormatDuration(in.Period), delays(c.Backoff), n)
}

// checkSupervisorLimit looks at a limit that is written for a supervisor.
func (d *decoder) checkSupervisorLimit(b *branch) {
	if !b.o.has("max_restarts") && !b.o.has("restart_window") {
		return
	}
	in := b.spec.Intensity
	n, own := 0, false
	for _, c := range b.compile().Children {
		switch {
		case c.Restart == supervision.Temporary:
		case c.Intensity != nil:
			own = true
		default:
			n += restartsWithin(c.Backoff, in.Period, in.Max-n)
		}
		if n > in.Max {
			return
		}
	}
	key := writtenOf(b.o, "max_restarts", "restart_window")
	why := fmt.Sprintf("with the delays of its children there are at most %d", n)
	if n == 0 {
		why = "none of its children counts here"
	}
	if own {
		why += "; services count here only with max_restarts: unlimited"
	}
	d.fail(b.o.pos(key), b.o.at(key), "", "more than %s within %s can never happen: %s", plural(in.Max, "restart"), supervision.FormatDuration(in.Period), why)
}

// writtenOf is the first of the keys that is written, else the first.
func writtenOf(o *object, keys ...string) string {
	for _, key := range keys {
		if o.has(key) {
			return key
		}
	}
	return keys[0]
}

// maxWorkedOut is how many restarts restartsWithin works out exactly.
const maxWorkedOut = 200

// restartsWithin is how many restarts of one child can be decided within a period,
// at most one more than limit: it ends as soon as it starts, or, where that is
// faster, lives just long enough for its back-off to begin anew.
func restartsWithin(b supervision.Backoff, period time.Duration, limit int) int {
	within, reset := float64(period), float64(b.ResetAfter)
	shortest := func(n int) float64 {
		even := b
		even.Jitter = 0
		return float64(even.Delay(n, 0)) * (1 - b.Jitter)
	}
	first := shortest(1)
	if first <= 0 || limit < 0 {
		return limit + 1
	}
	row := []float64{0}  // row[n]: the time n delays in a row take
	best := []float64{0} // best[n]: the shortest time from a restart to the n-th after it
	for n := 1; n <= min(limit, maxWorkedOut); n++ {
		row = append(row, row[n-1]+shortest(n))
		fastest := row[n]
		for k := 1; k < n; k++ {
			fastest = min(fastest, row[k]+reset+best[n-k])
		}
		if fastest > within {
			return n
		}
		best = append(best, fastest)
	}
	if limit <= maxWorkedOut || float64(limit)*first <= within {
		return limit + 1
	}
	return int(within/first) + 1
}

// delays lists the first delays of a back-off.
func delays(b supervision.Backoff) string {
	b.Jitter = 0
	var list []string
	for n := 1; n <= 3; n++ {
		list = append(list, supervision.FormatDuration(b.Delay(n, 0)))
	}
	if b.Delay(1, 0) == b.Delay(4, 0) {
		return list[0]
	}
	return fmt.Sprintf("%s, … up to %s", strings.Join(list, ", "), supervision.FormatDuration(b.Max))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
