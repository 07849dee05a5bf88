package main

// bitWriter writes bit by bit, most significant first, as H.264 §7.2 and §9.1 have it.
type bitWriter struct {
	b    []byte
	free int // unused bits of the last byte
}

// u writes the lowest n bits of v.
func (w *bitWriter) u(n int, v uint32) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.b, w.free = append(w.b, 0), 8
		}
		w.free--
		w.b[len(w.b)-1] |= byte(v>>n&1) << w.free
	}
}

// ue writes an unsigned Exp-Golomb code.
func (w *bitWriter) ue(v uint32) {
	n := 0
	for (v+1)>>(n+1) > 0 {
		n++
	}
	w.u(n, 0)
	w.u(n+1, v+1)
}

// end writes the stop bit of an RBSP (§7.3.2.11).
func (w *bitWriter) end() []byte {
	w.u(1, 1)
	return w.b
}
