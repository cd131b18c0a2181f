package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbid puts the programs a site runs into a control group whose eBPF program
// refuses connections to port 587 with EPERM, as security products and
// container policies do (DIAG-19). It reports whether this machine can.
func (s *site) forbid(t *testing.T) error {
	top, err := cgroup2()
	if err != nil {
		return err
	}
	dir := filepath.Join(top, fmt.Sprintf("paquebot-lab-%d-%s", s.c4.As4()[2], filepath.Base(s.w.dir)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	group, err := os.Open(dir)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = group.Close() })
	const inet4Connect, inet6Connect = 10, 11 // enum bpf_attach_type
	for _, at := range []uint32{inet4Connect, inet6Connect} {
		if err := attach(group, at); err != nil {
			return err
		}
	}
	s.group = group
	return nil
}

func cgroup2() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for l := range strings.Lines(string(mounts)) {
		if f := strings.Fields(l); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("no cgroup2 is mounted")
}

// attach loads four instructions and hangs them into the group.
func attach(group *os.File, at uint32) error {
	const (
		progLoad, progAttach = 5, 8   // enum bpf_cmd
		sockAddr             = 18     // BPF_PROG_TYPE_CGROUP_SOCK_ADDR
		port587              = 0x4b02 // in network order, as bpf_sock_addr.user_port has it
	)
	program := [...]uint64{
		0x61 | 0<<8 | 1<<12 | 24<<16,      // r0 = *(u32 *)(r1 + 24): user_port
		0x15 | 0<<8 | 2<<16 | port587<<32, // if r0 == 587 goto +2
		0xb7 | 0<<8 | 1<<32,               // r0 = 1: allow
		0x95,                              // exit
		0xb7 | 0<<8,                       // r0 = 0: EPERM
		0x95,                              // exit
	}
	license := append([]byte("Apache-2.0"), 0)
	load := struct {
		kind, count         uint32
		insns, license      uint64
		logLevel, logSize   uint32
		log                 uint64
		version, flags      uint32
		name                [16]byte
		ifindex, attachType uint32
	}{kind: sockAddr, count: uint32(len(program)), insns: uint64(uintptr(unsafe.Pointer(&program))),
		license: uint64(uintptr(unsafe.Pointer(&license[0]))), attachType: at}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, progLoad, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	runtime.KeepAlive(program)
	runtime.KeepAlive(license)
	if errno != 0 {
		return fmt.Errorf("bpf load: %w", errno)
	}
	defer func() { _ = unix.Close(int(fd)) }()
	hang := struct{ target, prog, kind, flags uint32 }{uint32(group.Fd()), uint32(fd), at, 0}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, progAttach, uintptr(unsafe.Pointer(&hang)), unsafe.Sizeof(hang)); errno != 0 {
		return fmt.Errorf("bpf attach: %w", errno)
	}
	return nil
}
