package proc

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is whom a service runs as.
type account struct {
	uid, gid int
	cred     *syscall.Credential // nil: as bhnode itself
}

// findAccount looks up the user and group of a service, by name or number, as they are now.
func findAccount(userName, groupName string) (account, error) {
	a := account{uid: os.Geteuid(), gid: os.Getegid()}
	if userName == "" && groupName == "" {
		return a, nil
	}
	groups, err := a.setUser(userName)
	if err != nil {
		return account{}, err
	}
	if err := a.setGroup(groupName); err != nil {
		return account{}, err
	}
	switch {
	case os.Geteuid() == 0:
		a.cred = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid), Groups: groups} //nolint:gosec // ids have 32 bits
	case a.uid != os.Geteuid() || a.gid != os.Getegid():
		return account{}, hopeless(fmt.Errorf("only root can run a service as user %q, group %q", userName, groupName))
	}
	return a, nil
}

func (a *account) setUser(name string) (groups []uint32, err error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		byID, idErr := user.LookupId(name)
		if idErr != nil {
			return nil, hopelessIf[user.UnknownUserError](err)
		}
		u = byID
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("cannot find the groups of user %s: %w", name, err)
	}
	for _, id := range ids {
		gid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("cannot find the groups of user %s: %w", name, err)
		}
		groups = append(groups, uint32(gid))
	}
	a.uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	a.gid, err = strconv.Atoi(u.Gid)
	return groups, err
}

func (a *account) setGroup(name string) error {
	if name == "" {
		return nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		byID, idErr := user.LookupGroupId(name)
		if idErr != nil {
			return hopelessIf[user.UnknownGroupError](err)
		}
		g = byID
	}
	a.gid, err = strconv.Atoi(g.Gid)
	return err
}

// hopelessIf marks err as hopeless where it is an E.
func hopelessIf[E error](err error) error {
	if _, ok := errors.AsType[E](err); ok {
		return hopeless(err)
	}
	return err
}
