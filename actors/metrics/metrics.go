// Package metrics tells Prometheus and load balancers how a node is. What happens is
// counted as it happens; all else is what the last sample of the node has found. A scrape
// never samples.
package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Options are what a Metrics starts from.
type Options struct {
	Version string
	// Compat adds blackhole_processes_total, which is against the naming rules of Prometheus.
	Compat bool
}

// Look returns how a node is now: it asks the root supervisor and fails if that does not
// answer.
type Look func(ctx context.Context) (*Snapshot, error)

// Metrics counts what happens to a node. Its methods may be called at any time and never
// wait.
type Metrics struct {
	opts     Options
	registry *prometheus.Registry

	restarts      *prometheus.CounterVec
	escalations   *prometheus.CounterVec
	starts        *prometheus.HistogramVec
	probes        *prometheus.HistogramVec
	failedProbes  *prometheus.CounterVec
	rejections    *prometheus.CounterVec
	certificate   prometheus.Gauge
	panics, stray prometheus.Counter
}

// New returns the metrics of a node.
func New(o Options) *Metrics {
	m := &Metrics{
		opts: o, registry: prometheus.NewRegistry(),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: process + "restarts_total", Help: "Starts of a service that were not its first, by why it had ended.",
		}, []string{"service", "reason"}),
		escalations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: supervisor + "escalations_total", Help: "Times that a supervisor gave up and left it to the one above it.",
		}, []string{"supervisor"}),
		starts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: process + "start_duration_seconds", Help: "Time from the start of a service until it was ready.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"service"}),
		probes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: process + "probe_duration_seconds", Help: "Time that a health check of a service took.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 5},
		}, []string{"service"}),
		failedProbes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: process + "probe_errors_total", Help: "Health checks of a service that failed or could not be carried out.",
		}, []string{"service"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bhnode_rejections_total", Help: "Connections, calls and messages that an endpoint turned away, by why.",
		}, []string{"endpoint", "reason"}),
		certificate: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bhnode_certificate_not_after_timestamp_seconds", Help: "Time at which the certificate of the node ends.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bhnode_actor_panics_total", Help: "Panics of actors, each of which was contained.",
		}),
		stray: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bhnode_dead_letters_total", Help: "Messages to actors that were not there any more.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bhnode_build_info", Help: "Always 1; the label tells what runs.", ConstLabels: prometheus.Labels{"version": o.Version},
	})
	build.Set(1)
	m.registry.MustRegister(m.restarts, m.escalations, m.starts, m.probes, m.failedProbes, m.rejections, m.panics, m.stray, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// commonReasons are there from the start, as an increase from nothing is none to Prometheus.
var commonReasons = []string{"exit", "signal", "oom", "probe", "dependency"}

// Added makes the counters of a service.
func (m *Metrics) Added(service string) {
	for _, reason := range commonReasons {
		m.restarts.WithLabelValues(service, reason)
	}
}

// Restarted counts a start of a service that had ended for a reason.
func (m *Metrics) Restarted(service, reason string) {
	m.restarts.WithLabelValues(service, reason).Inc()
}

// Supervises makes the counter of a supervisor, as Added does those of a service.
func (m *Metrics) Supervises(supervisor string) { m.escalations.WithLabelValues(supervisor) }

// Escalated counts that a supervisor has given up, to the one above it.
func (m *Metrics) Escalated(supervisor string) { m.escalations.WithLabelValues(supervisor).Inc() }

// Ready counts that a service is ready that was started so long ago.
func (m *Metrics) Ready(service string, after time.Duration) {
	m.starts.WithLabelValues(service).Observe(after.Seconds())
}

// Probed counts a health check.
func (m *Metrics) Probed(service string, took time.Duration, err error) {
	m.probes.WithLabelValues(service).Observe(took.Seconds())
	failed := m.failedProbes.WithLabelValues(service)
	if err != nil {
		failed.Inc()
	}
}

// Rejected counts what an endpoint has turned away: so many, for one reason.
func (m *Metrics) Rejected(endpoint, reason string, n uint64) {
	m.rejections.WithLabelValues(endpoint, reason).Add(float64(n))
}

// CertificateEnds tells when the certificate of the node ends.
func (m *Metrics) CertificateEnds(at time.Time) {
	m.certificate.Set(float64(at.Unix()))
	_ = m.registry.Register(m.certificate) // once it is known; later it is there already
}

// Panicked counts the panic of an actor.
func (m *Metrics) Panicked() { m.panics.Inc() }

// DeadLetter counts a message that reached nobody.
func (m *Metrics) DeadLetter() { m.stray.Inc() }

// Removed forgets a service that is not configured any more.
func (m *Metrics) Removed(service string) {
	of := prometheus.Labels{"service": service}
	m.restarts.DeletePartialMatch(of)
	m.starts.DeletePartialMatch(of)
	m.probes.DeletePartialMatch(of)
	m.failedProbes.DeletePartialMatch(of)
}
