package supervision

// Stage is where one life of one process is.
//
//	Preparing ─► Starting ─► Running ─┐
//	    │            │          │     │ it ends by itself
//	    │ stop       ▼          ▼     ▼
//	    ▼         Stopping ─► Leaving  Killing ─► Stuck
//	Aborting         └──grace over──►  ▲  │         │
//	    │                  └───────────┘  ▼         ▼
//	    └──────────────────────────────► Over ◄─────┘
type Stage uint8

const (
	// Preparing means that directories, hooks and the spawn are under way.
	Preparing Stage = iota
	// Aborting is the same, but the order to stop has come.
	Aborting
	// Starting means that the process runs and is not ready yet.
	Starting
	// Running means that it was ready once.
	Running
	// Stopping means that the main process was asked to stop.
	Stopping
	// Leaving means that it is gone, what it left behind was asked too.
	Leaving
	// Killing means that everything of it that is left was killed.
	Killing
	// Stuck means that the kernel does not let it die.
	Stuck
	// Over means that nothing of it is left.
	Over
)

// Signal is what happens to a life.
type Signal uint8

// The signals.
const (
	Spawned     Signal = iota // the process runs
	SpawnFailed               // it does not
	Ready                     // the first healthy verdict
	Stop                      // an order to stop, or a verdict that it must
	Kill                      // an order to kill
	MainExited                // the main process has ended
	GraceOver                 // the time to stop is over
	KillOver                  // the time to die is over
	AllGone                   // nothing of it is left
)

// Deed is what a transition asks to be done.
type Deed uint8

// The deeds.
const (
	Abort      Deed = iota // give the preparation up
	Watch                  // begin with probes, tell that it was started
	TellReady              // tell that it is ready
	Ask                    // send the stop signal to the main process
	AskLeft                // send it to what is left
	StartGrace             // GraceOver is due after the grace
	KillLeft               // SIGKILL to everything that is left
	StartKill              // KillOver is due
	TellStuck              // tell that it does not die
	TellOver               // tell how it ended
	AwaitAll               // AllGone is due once nothing is left
	EndLeft                // KillLeft, then AwaitAll
)

type transition struct {
	to Stage
	do []Deed
}

// lifecycle is the machine; a pair that is missing changes nothing.
var lifecycle = map[Stage]map[Signal]transition{
	Preparing: {
		Spawned:     {Starting, []Deed{Watch}},
		SpawnFailed: {Over, []Deed{TellOver}},
		Stop:        {Aborting, []Deed{Abort}},
		Kill:        {Aborting, []Deed{Abort}},
	},
	Aborting: {
		Spawned:     {Killing, []Deed{KillLeft, StartKill}},
		SpawnFailed: {Over, []Deed{TellOver}},
	},
	Starting: {
		Ready:      {Running, []Deed{TellReady}},
		Stop:       {Stopping, []Deed{Ask, StartGrace}},
		Kill:       {Killing, []Deed{KillLeft, StartKill}},
		MainExited: {Killing, []Deed{StartKill, EndLeft}},
	},
	Running: {
		Stop:       {Stopping, []Deed{Ask, StartGrace}},
		Kill:       {Killing, []Deed{KillLeft, StartKill}},
		MainExited: {Killing, []Deed{StartKill, EndLeft}},
	},
	Stopping: {
		Kill:       {Killing, []Deed{KillLeft, StartKill}},
		GraceOver:  {Killing, []Deed{KillLeft, StartKill}},
		MainExited: {Leaving, []Deed{AskLeft, AwaitAll}},
	},
	Leaving: {
		Kill:      {Killing, []Deed{KillLeft, StartKill}},
		GraceOver: {Killing, []Deed{KillLeft, StartKill}},
		AllGone:   {Over, []Deed{TellOver}},
	},
	Killing: {
		MainExited: {Killing, []Deed{AwaitAll}},
		KillOver:   {Stuck, []Deed{TellStuck}},
		AllGone:    {Over, []Deed{TellOver}},
	},
	Stuck: {
		MainExited: {Stuck, []Deed{AwaitAll}},
		AllGone:    {Over, []Deed{TellOver}},
	},
}

// Next is the stage after a signal and what is to be done about it, in order. A
// signal that means nothing in that stage leaves it as it is.
func (s Stage) Next(sig Signal) (Stage, []Deed) {
	t, ok := lifecycle[s][sig]
	if !ok {
		return s, nil
	}
	return t.to, t.do
}
