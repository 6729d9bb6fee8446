package proc

const trackedByMark = "descent, session and BHNODE_ID: what drops all of them in its first instant can be missed"

// noGroups is the back end of a machine whose kernel groups cannot be used.
type noGroups struct {
	problems []Problem
	lacks    map[string]*Problem // by controller, where it is another reason than the first
}

func (n noGroups) isolation() Isolation {
	return Isolation{Backend: "none", Problems: n.problems, Tracking: trackedByMark}
}

func (noGroups) enforcer() string { return "" }

func (n noGroups) lack(controller string) *Problem {
	if p := n.lacks[controller]; p != nil {
		return p
	}
	if len(n.problems) > 0 {
		return &n.problems[0]
	}
	return nil
}

func (noGroups) open(string, uint64, Limits) (*group, error) { return nil, nil }

func (noGroups) find(string, uint64, Limits) *group { return nil }

func (noGroups) bases() []string { return nil }
