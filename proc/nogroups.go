package proc

const trackedByMark = "descendants, orphans and sessions, by BHNODE_ID: what drops all of them in its first instant can be missed"

// noGroups is the back end of a machine whose kernel groups cannot be used.
type noGroups struct{ problems []Problem }

func (n noGroups) isolation() Isolation {
	return Isolation{Backend: "none", Problems: n.problems, Tracking: trackedByMark}
}

func (n noGroups) lack(string) *Problem {
	if len(n.problems) > 0 {
		return &n.problems[0]
	}
	return nil
}

func (noGroups) open(string, uint64, Limits) (*group, error) { return nil, nil }

func (noGroups) bases() []string { return nil }
