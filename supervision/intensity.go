package supervision

import "time"

// window holds the times of the restarts that may still count, oldest first.
type window struct{ times []time.Time }

// allow counts one restart at now and tells whether the limit permits it. A
// restart that is exactly one period old still counts (OTP supervisor,
// add_restart and in_period).
func (w *window) allow(now time.Time, in Intensity) bool {
	w.forget(now, in.Period)
	if len(w.times) > in.Max { // more than that tell nothing
		w.times = w.times[1:]
	}
	w.times = append(w.times, now)
	return len(w.times) <= in.Max
}

// count tells how many restarts lie within the period before now.
func (w *window) count(now time.Time, period time.Duration) int {
	n := 0
	for i := len(w.times) - 1; i >= 0 && now.Sub(w.times[i]) <= period; i-- {
		n++
	}
	return n
}

func (w *window) forget(now time.Time, period time.Duration) {
	first := 0
	for first < len(w.times) && now.Sub(w.times[first]) > period {
		first++
	}
	w.times = w.times[first:]
}

func (w *window) clear() { w.times = nil }
