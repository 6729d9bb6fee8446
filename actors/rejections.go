package actors

import (
	"maps"
	"sync"

	"github.com/rs/zerolog"
)

// rejectionsKept is how many pairs of a peer and a reason are remembered as logged; when
// there are more, they are forgotten all and may be logged again.
const rejectionsKept = 4096

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
	if r.count(peer, reason) {
		r.log.Warn().Str("peer", peer).Str("reason", reason).Str("detail", detail).
			Msg("a peer is turned away; from now on that is only counted")
	}
}

// count counts it, and tells whether it is the first of this peer.
func (r *Rejections) count(peer, reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[reason]++
	key := [2]string{peer, reason}
	if r.logged[key] {
		return false
	}
	if len(r.logged) >= rejectionsKept {
		clear(r.logged)
	}
	r.logged[key] = true
	return true
}

// Counts returns how often what was turned away, by reason.
func (r *Rejections) Counts() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}
