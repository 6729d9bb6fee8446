package main

import (
	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc"
)

// recall finds out what a bhnode that was cut off had decided, to go on from there.
func (d *daemon) recall() error {
	if d.cfg.Node.KillOnDaemonDeath && d.will == nil { // what another one left was killed
		return d.host.State().Forget()
	}
	past, err := actors.Recall(d.host.State(), d.host.Boot())
	if err == nil && past != nil {
		d.choose(past)
		err = past.Fit(&d.config, d.fitting())
	}
	if err != nil {
		if past, err = d.presume(err); err != nil {
			return err
		}
	}
	if past != nil && d.host.Lacks(past.Lives()) { // a record was damaged, or not written any more
		if _, err := d.host.Discover(d.specs()); err != nil {
			return failure("", "what runs cannot be found out: %v", err)
		}
	}
	d.past = past
	d.reloads.resumed = past != nil && past.Reloading()
	if past != nil && past.Changed() && d.will == nil { // a reload like any, but for who asked
		_, err = d.reloads.history.Prepare(d.cfg.Snapshot(), d.app.now(), "run")
	}
	return err
}

// choose finds the configuration that what was decided is about, where the file has changed
// since: that goes on first, and then the file is reloaded.
func (d *daemon) choose(past *actors.Past) {
	if d.will != nil || past.Matches(&d.config) {
		return
	}
	pending, tried := d.reloads.history.Pending()
	last, ok := d.reloads.history.Last()
	for _, kept := range []struct {
		configs.Applied
		ok bool
	}{{pending, tried}, {last, ok}} {
		if !kept.ok {
			continue
		}
		cfg, err := kept.Load(d.app.getenv)
		if err != nil {
			continue
		}
		if d.goOnWith(cfg, past) {
			return
		}
	}
}

// goOnWith has the node go on with a configuration that was in force; the file comes after
// it, unless it was rolled back. With a past it has to match that.
func (d *daemon) goOnWith(cfg *configs.Config, past *actors.Past) bool {
	c, err := d.actorsConfig(cfg)
	if err != nil || past != nil && !past.Matches(c) {
		return false
	}
	d.reloads.file = !d.reloads.history.Rejected(d.cfg.Snapshot())
	d.cfg, d.config = cfg, *c
	if !d.reloads.file {
		d.app.err.printf("%s %s was rolled back when it was reloaded last, and is as it was: going on with what runs; mend it, then \"bhnode reload\"\n",
			d.app.err.paint(styleWorking, "warning:"), d.src)
		d.log.Warn().Stringer("config", d.src).Msg("it was rolled back and has not changed since: going on with what ran before")
	}
	return true
}

// presume goes on with what runs, where what was decided about it cannot be used any more:
// under the configuration that was in force last, and then the file is reloaded.
func (d *daemon) presume(why error) (*actors.Past, error) {
	d.app.err.printf("%s %s; it was set aside: going on with what is found running, as if that had just come up\n",
		d.app.err.paint(styleWorking, "warning:"), safeLines(why.Error()))
	d.log.Error().Err(why).Msg("what an earlier bhnode decided cannot be used: going on with what is found running")
	if err := d.host.State().SetAside(); err != nil {
		return nil, err
	}
	if last, ok := d.reloads.history.Last(); ok && d.will == nil && !last.Same(d.cfg.Snapshot()) {
		cfg, err := last.Load(d.app.getenv)
		if err == nil {
			_ = d.goOnWith(cfg, nil) // else the file has to do
		}
	}
	found, err := d.host.Discover(d.specs())
	if err != nil {
		return nil, failure("", "what runs cannot be found out: %v", err)
	}
	return actors.Presume(&d.config, found, d.host.Boot()), nil
}

func (d *daemon) specs() []*proc.ServiceSpec {
	specs := make([]*proc.ServiceSpec, len(d.cfg.Services))
	for i := range d.cfg.Services {
		specs[i] = &d.cfg.Services[i].ServiceSpec
	}
	return specs
}
