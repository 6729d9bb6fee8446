package main

import (
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// useKept is how many shares of a processor are kept of each service.
const useKept = 8

// useHistory is what services have used of late.
type useHistory struct {
	looks    int
	services map[string]*useRates
}

// useRates are those of one service.
type useRates struct {
	incarnation   uint64
	at            time.Time
	readTotal     uint64
	writtenTotal  uint64
	rated         bool      // there were two looks
	read, written float64   // bytes a second
	cpu           []float64 // the last shares, in percent
}

// add takes down what a node tells.
func (h *useHistory) add(at time.Time, now *bhnodev1.WatchStatusResponse) {
	h.looks++
	before := h.services
	h.services = make(map[string]*useRates, len(now.GetStatus().GetServices()))
	for _, s := range now.GetStatus().GetServices() {
		r := before[s.GetName()]
		if r == nil || r.incarnation != s.GetIncarnation() || s.IoReadBytes == nil {
			r = &useRates{incarnation: s.GetIncarnation()}
		}
		if over := at.Sub(r.at).Seconds(); !r.at.IsZero() && over > 0 {
			r.rated = true
			r.read = float64(s.GetIoReadBytes()-min(r.readTotal, s.GetIoReadBytes())) / over
			r.written = float64(s.GetIoWriteBytes()-min(r.writtenTotal, s.GetIoWriteBytes())) / over
		}
		if s.IoReadBytes != nil {
			r.at, r.readTotal, r.writtenTotal = at, s.GetIoReadBytes(), s.GetIoWriteBytes()
		}
		if s.CpuPercent != nil {
			r.cpu = append(r.cpu, s.GetCpuPercent())
			r.cpu = r.cpu[max(0, len(r.cpu)-useKept):]
		}
		h.services[s.GetName()] = r
	}
}

// of returns those of a service.
func (h *useHistory) of(service string) useRates {
	if r := h.services[service]; r != nil {
		return *r
	}
	return useRates{}
}
