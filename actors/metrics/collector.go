package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The beginnings of names.
const (
	process    = "blackhole_process_"
	supervisor = "blackhole_supervisor_"
)

// lookTime is how long the root supervisor gets to answer.
const lookTime = 2 * time.Second

// Snapshot is how a node is.
type Snapshot struct {
	Ready       bool           // it has come up
	States      map[string]int // services by state, all states
	Services    []Service      // in the order of the configuration
	Supervisors []Supervisor
	Mailboxes   map[string]int // messages that wait, by kind of actor
}

// Service is one service of a Snapshot.
type Service struct {
	Name   string
	State  string
	Wanted bool
	// Healthy: it is as one that is wanted should be; what has completed is.
	Healthy     bool
	Uptime      *time.Duration // nil: it does not run
	MemoryLimit uint64         // bytes; 0: none

	// Sample is what it uses, nil if it was never looked at, or does not run.
	Sample *Sample
	// Totals are those of all its lives.
	Totals Totals
}

// Sample is what a service was using when it was last looked at.
type Sample struct {
	CPUPercent      *float64 // nil: it takes two looks
	Memory, Virtual uint64   // bytes
	Threads, Files  uint64
	Connections     *uint64
}

// Totals only grow.
type Totals struct {
	CPU           time.Duration
	Read, Written uint64 // bytes
	OOMKills      uint64
	Throttled     time.Duration
	Lines         map[string]uint64 // by stream
	Dropped       uint64            // lines
}

// Supervisor is one supervisor of a Snapshot.
type Supervisor struct {
	Name     string
	InWindow int
	Limit    int
}

// collector makes metrics of a Snapshot.
type collector struct {
	look   Look
	compat bool
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	processesDesc   = desc("blackhole_processes", "Services of the node, by state.", "state")
	compatDesc      = desc("blackhole_processes_total", "Services of the node.")
	cpuDesc         = desc(process+"cpu_percent", "Share of one processor that the service used between the last two samples.", "service")
	memoryDesc      = desc(process+"memory_bytes", "Memory of the service: what its group is charged with less what can be dropped, or what is resident.", "service")
	memoryLimitDesc = desc(process+"memory_limit_bytes", "Memory that the service may use, as configured.", "service")
	uptimeDesc      = desc(process+"uptime_seconds", "Time since the service was started.", "service")
	cpuTotalDesc    = desc(process+"cpu_seconds_total", "Processor time that the service has used, all its lives together.", "service")
	virtualDesc     = desc(process+"virtual_memory_bytes", "Address space of the service.", "service")
	threadsDesc     = desc(process+"threads", "Threads of the service.", "service")
	filesDesc       = desc(process+"open_files", "Descriptors that the service has open.", "service")
	connsDesc       = desc(process+"connections", "TCP and UDP sockets of the service, sampled every minute.", "service")
	readDesc        = desc(process+"io_read_bytes_total", "Bytes that the service has read from disks.", "service")
	writtenDesc     = desc(process+"io_write_bytes_total", "Bytes that the service has written to disks.", "service")
	oomDesc         = desc(process+"oom_kills_total", "Processes of the service that the kernel killed for want of memory.", "service")
	throttledDesc   = desc(process+"cpu_throttled_seconds_total", "Time that the service had to wait since it had used up its share of processors.", "service")
	healthyDesc     = desc(process+"healthy", "Whether a service that is wanted is healthy, or has completed.", "service")
	linesDesc       = desc(process+"log_lines_total", "Lines that the service has written.", "service", "stream")
	droppedDesc     = desc(process+"log_dropped_total", "Lines of the service that were lost since the disk could not take them.", "service")
	windowDesc      = desc(supervisor+"restarts_in_window", "Restarts that count against the limit of the supervisor now.", "supervisor")
	limitDesc       = desc(supervisor+"restart_limit", "Restarts within its window that the supervisor allows.", "supervisor")
	mailboxDesc     = desc("bhnode_actor_mailbox_messages", "Messages that wait to be heard, by kind of actor.", "actor")
)

// Describe implements prometheus.Collector: what is collected depends on the node.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	s, err := c.look(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(processesDesc, err)
		return
	}
	gauge, _ := senders(out)
	for state, n := range s.States {
		gauge(processesDesc, float64(n), state)
	}
	if c.compat {
		gauge(compatDesc, float64(len(s.Services)))
	}
	for i := range s.Services {
		collectService(out, &s.Services[i])
	}
	for _, v := range s.Supervisors {
		gauge(windowDesc, float64(v.InWindow), v.Name)
		gauge(limitDesc, float64(v.Limit), v.Name)
	}
	for kind, n := range s.Mailboxes {
		gauge(mailboxDesc, float64(n), kind)
	}
}

type sender func(d *prometheus.Desc, value float64, labels ...string)

func senders(out chan<- prometheus.Metric) (gauge, counter sender) {
	send := func(kind prometheus.ValueType) sender {
		return func(d *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, kind, value, labels...)
		}
	}
	return send(prometheus.GaugeValue), send(prometheus.CounterValue)
}

func collectService(out chan<- prometheus.Metric, s *Service) {
	gauge, counter := senders(out)
	if s.Wanted {
		healthy := 0.0
		if s.Healthy {
			healthy = 1
		}
		gauge(healthyDesc, healthy, s.Name)
	}
	if s.MemoryLimit > 0 {
		gauge(memoryLimitDesc, float64(s.MemoryLimit), s.Name)
	}
	if s.Uptime != nil {
		gauge(uptimeDesc, s.Uptime.Seconds(), s.Name)
	}
	if u := s.Sample; u != nil {
		if u.CPUPercent != nil {
			gauge(cpuDesc, *u.CPUPercent, s.Name)
		}
		gauge(memoryDesc, float64(u.Memory), s.Name)
		gauge(virtualDesc, float64(u.Virtual), s.Name)
		gauge(threadsDesc, float64(u.Threads), s.Name)
		gauge(filesDesc, float64(u.Files), s.Name)
		if u.Connections != nil {
			gauge(connsDesc, float64(*u.Connections), s.Name)
		}
	}
	t := &s.Totals
	counter(cpuTotalDesc, t.CPU.Seconds(), s.Name)
	counter(readDesc, float64(t.Read), s.Name)
	counter(writtenDesc, float64(t.Written), s.Name)
	counter(oomDesc, float64(t.OOMKills), s.Name)
	counter(throttledDesc, t.Throttled.Seconds(), s.Name)
	for stream, n := range t.Lines {
		counter(linesDesc, float64(n), s.Name, stream)
	}
	counter(droppedDesc, float64(t.Dropped), s.Name)
}
