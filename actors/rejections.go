package actors

import (
	"maps"
	"sync"

	"github.com/rs/zerolog"
)

// rejectionsKept is how many pairs of a peer and a reason are logged; then it is said that
// from now on all is only counted.
const rejectionsKept = 1024

// Rejections counts what an endpoint turns away, and logs it once for each peer and reason,
// so that nobody fills the log by knocking.
type Rejections struct {
	log     zerolog.Logger
	counted func(reason string)

	mu     sync.Mutex
	counts map[string]uint64
	logged map[[2]string]bool
}

// NewRejections returns one that has counted nothing. It calls counted each time, unless
// that is nil.
func NewRejections(log zerolog.Logger, counted func(reason string)) *Rejections {
	return &Rejections{log: log, counted: counted, counts: map[string]uint64{}, logged: map[[2]string]bool{}}
}

// Note counts one thing that was turned away: of which peer, and why. The reason is one of a
// few words; detail says more.
func (r *Rejections) Note(peer, reason, detail string) {
	if r.counted != nil {
		r.counted(reason)
	}
	first, last := r.count(peer, reason)
	if first {
		r.log.Warn().Str("peer", peer).Str("reason", reason).Str("detail", detail).
			Msg("a peer is turned away; from now on that is only counted")
	}
	if last {
		r.log.Warn().Int("logged", rejectionsKept).Msg("many peers are turned away; from now on all that is only counted")
	}
}

// count counts it, and tells whether it is the first of this peer, and the last to be logged.
func (r *Rejections) count(peer, reason string) (first, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[reason]++
	key := [2]string{peer, reason}
	if r.logged[key] || len(r.logged) >= rejectionsKept {
		return false, false
	}
	r.logged[key] = true
	return true, len(r.logged) == rejectionsKept
}

// Counts returns how often what was turned away, by reason.
func (r *Rejections) Counts() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}
