package spool

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// vectorsMax is what one pwritev takes (IOV_MAX).
const vectorsMax = 1024

// writeAll writes w.vectors at off, in one system call where the file is the
// system's own. It returns how many octets came to the file.
func (w *writer) writeAll(off int64) (int64, error) {
	fd := w.file.Fd()
	if fd == vfs.InvalidFd {
		return w.writeJoined(off)
	}
	written := int64(0)
	for vs := w.vectors; len(vs) > 0; {
		n, err := unix.Pwritev(int(fd), vs[:min(len(vs), vectorsMax)], off+written)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, err
		}
		if n == 0 {
			return written, io.ErrShortWrite
		}
		written += int64(n)
		vs = advance(vs, n)
	}
	return written, nil
}

// advance drops the first n octets.
func advance(vs [][]byte, n int) [][]byte {
	for len(vs) > 0 && n >= len(vs[0]) {
		n -= len(vs[0])
		vs = vs[1:]
	}
	if n > 0 {
		vs[0] = vs[0][n:]
	}
	return vs
}
