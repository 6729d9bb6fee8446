package supervision

// ExitKind is how a child ended, as far as its restart is concerned.
type ExitKind uint8

const (
	// Normal means that it finished.
	Normal ExitKind = iota
	// ShutdownExit means that it ended after an order to stop.
	ShutdownExit
	// Abnormal is all else, failed starts included.
	Abnormal
)

// After tells whether a child of this restart type is restarted after an end of
// that kind (OTP supervisor, do_restart).
func (r Restart) After(kind ExitKind) bool {
	switch r {
	case Permanent:
		return true
	case Transient:
		return kind == Abnormal
	case Temporary:
		return false
	}
	return false
}

// Reason says why a service is not running, or how its last life ended.
type Reason string

// The reasons that status shows.
const (
	ReasonNone         Reason = ""
	ReasonExit         Reason = "exit"
	ReasonSignal       Reason = "signal"
	ReasonOOM          Reason = "oom"
	ReasonProbe        Reason = "probe"
	ReasonStartTimeout Reason = "start_timeout"
	ReasonSpawnError   Reason = "spawn_error"
	ReasonDependency   Reason = "dependency"
	ReasonStrategy     Reason = "strategy"
	ReasonOperator     Reason = "operator"
	ReasonReload       Reason = "reload"
	ReasonStuck        Reason = "stuck"
	ReasonHeld         Reason = "held"
	ReasonTemporary    Reason = "temporary"
)
