package main

import (
	"context"
	"fmt"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/supervision"
)

// watchdog tells the service manager that started bhnode how the node is
// (sd_notify(3)). Without one it does nothing.
type watchdog struct {
	d      *daemon
	cancel context.CancelFunc
}

func newWatchdog(d *daemon) *watchdog {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watchdog{d: d, cancel: cancel}
	if every, err := sd.SdWatchdogEnabled(false); err == nil && every > 0 {
		go w.feed(ctx, every)
	}
	return w
}

func (w *watchdog) say(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		w.d.log.Warn().Err(err).Msg("service manager could not be notified")
	}
}

func (w *watchdog) ready(b supervision.Booted) {
	status := "all services are healthy"
	if n := len(b.Failed); n > 0 {
		status = fmt.Sprintf("%s could not be started", plural(n, "service"))
	}
	w.say(sd.SdNotifyReady + "\nSTATUS=" + status)
}

// reloading tells a service manager that waits for the end of a reload (Type=notify-reload,
// systemd.service(5)) that one has begun.
func (w *watchdog) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return
	}
	w.say(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/1000))
}

// reloaded tells it how the reload has ended.
func (w *watchdog) reloaded(status string) { w.say(sd.SdNotifyReady + "\nSTATUS=" + status) }

func (w *watchdog) stopping() { w.say(sd.SdNotifyStopping) }

func (w *watchdog) stop() { w.cancel() }

// feed calls the watchdog off twice a period, if the root supervisor answers in
// time.
func (w *watchdog) feed(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			asked, cancel := context.WithTimeout(ctx, every/2)
			if _, err := w.d.node.Snapshot(asked); err == nil {
				w.say(sd.SdNotifyWatchdog)
			}
			cancel()
		}
	}
}
