//go:build !linux

package spool

func (w *writer) writeAll(off int64) (int64, error) { return w.writeJoined(off) }
