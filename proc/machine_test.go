package proc

import "testing"

func TestMachine(t *testing.T) {
	m := LookAtMachine()
	if m.Processors < 1 || m.Memory == 0 || m.Available == 0 || m.Available > m.Memory {
		t.Errorf("got %+v", m)
	}
}

func TestPressure(t *testing.T) {
	const text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
	if got := pressureOf(text); got == nil || *got != 1.5 {
		t.Errorf("got %v", got)
	}
	if got := pressureOf("none"); got != nil {
		t.Errorf("got %v", *got)
	}
}
