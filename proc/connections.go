package proc

import "github.com/shirou/gopsutil/v3/net"

// Connections counts the connections of every process of the machine, TCP and UDP,
// listening ones too, by pid. It looks at all of them, so it is not for often.
func Connections() (map[int]uint64, error) {
	all, err := net.ConnectionsWithoutUids("inet")
	if err != nil {
		return nil, err
	}
	counts := map[int]uint64{}
	for _, c := range all {
		counts[int(c.Pid)]++
	}
	return counts, nil
}
