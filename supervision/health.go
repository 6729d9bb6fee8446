package supervision

import "time"

// Verdict is what one probe said.
type Verdict uint8

const (
	// Unknown means that the probe could not be carried out. It has no consequence.
	Unknown Verdict = iota
	// Good is a result.
	Good
	// Bad is one too.
	Bad
)

// Health turns the results of one incarnation's probes into a verdict: Retries
// bad ones in a row make it unhealthy, Successes good ones healthy. A child
// begins as not healthy; bad results before the first healthy verdict only let
// the start go on.
type Health struct {
	spec     HealthSpec
	healthy  bool
	everBeen bool
	run      int
	last     Verdict
}

// NewHealth begins a new incarnation: nothing is carried over.
func NewHealth(spec HealthSpec) *Health { return &Health{spec: spec} }

// ResumeHealth goes on with an incarnation that was ready before.
func ResumeHealth(spec HealthSpec, healthy bool) *Health {
	h := &Health{spec: spec, healthy: healthy, everBeen: true, last: Bad}
	if healthy {
		h.last = Good
	}
	return h
}

// Observe takes one result and tells whether the verdict changed.
func (h *Health) Observe(v Verdict) (changed bool) {
	if v == Unknown {
		return false
	}
	if v != h.last {
		h.last, h.run = v, 0
	}
	h.run++
	need := max(h.spec.Retries, 1)
	if v == Good {
		need = max(h.spec.Successes, 1)
	}
	if (v == Good) == h.healthy || h.run < need {
		return false
	}
	h.healthy = v == Good
	h.everBeen = h.everBeen || h.healthy
	return true
}

// Healthy is the verdict.
func (h *Health) Healthy() bool { return h.healthy }

// Failures is the number of bad results in a row.
func (h *Health) Failures() int {
	if h.last == Bad {
		return h.run
	}
	return 0
}

// Interval is the wait before the next probe: while starting it grows from
// StartInterval by half each time until it is Interval.
func (h *Health) Interval(probes int) time.Duration {
	if h.everBeen || h.spec.StartInterval <= 0 {
		return h.spec.Interval
	}
	d := h.spec.StartInterval
	for i := 1; i < probes && d < h.spec.Interval; i++ {
		d += d / 2
	}
	return min(d, h.spec.Interval)
}
