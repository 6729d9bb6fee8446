package supervision

import "time"

// Delay is the wait before the n-th restart in a row, n counting from 1. spread
// is a random number in [0, 1).
func (b Backoff) Delay(n int, spread float64) time.Duration {
	if b.Initial <= 0 {
		return 0
	}
	longest := float64(1 << 62)
	if b.Max > 0 {
		longest = float64(b.Max)
	}
	d := float64(b.Initial)
	for i := 1; i < n && d < longest && b.Factor > 1; i++ {
		d *= b.Factor
	}
	d = min(d, longest)
	d += d * b.Jitter * (2*spread - 1)
	return time.Duration(min(max(d, 0), longest))
}

// spread is a sequence of numbers in [0, 1) that a seed determines (splitmix64).
type spread uint64

func (s *spread) next() float64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
