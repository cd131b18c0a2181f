package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The environment by which the tests find themselves again inside.
const (
	envDir = "PAQUEBOT_E2E_DIR" // the folder of this run: set means inside
	envBin = "PAQUEBOT_BIN"     // the binary under test
)

// packages are the programs the tests need, and what brings them on Debian.
var packages = []struct{ program, pkg string }{
	{"unshare", "util-linux"}, {"nsenter", "util-linux"}, {"setpriv", "util-linux"}, {"ip", "iproute2"},
	{"postfix", "postfix"}, {"smtp-sink", "postfix"}, {"chasquid", "chasquid"}, {"dovecot", "dovecot-lmtpd"}, {"knotd", "knot"},
	{"curl", "curl"}, {"swaks", "swaks"}, {"msmtp", "msmtp"}, {"python3", "python3"}, {"node", "nodejs"}, {"bash", "bash"},
}

// here is the world all tests share; nil where there is none.
var here *world

func TestMain(m *testing.M) {
	// Daemons and their tools live in sbin, which a user's PATH may lack.
	_ = os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if text := os.Getenv(envSuite); text != "" {
		return suiteMain(text)
	}
	if os.Getenv(envDir) != "" {
		return inside(m)
	}
	if why := missing(); why != "" {
		fmt.Fprintf(os.Stderr, "\n*** end-to-end tests NOT run: %s\n\n", why)
		if os.Getenv("CI") == "true" {
			return 1
		}
		return m.Run() // each test skips, so that a listing shows it
	}
	code, err := outside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

// missing says what stands in the way, and the way round it; "" if nothing.
func missing() string {
	var pkgs []string
	for _, p := range packages {
		if _, err := exec.LookPath(p.program); err != nil && !strings.Contains(strings.Join(pkgs, " "), p.pkg) {
			pkgs = append(pkgs, p.pkg)
		}
	}
	if len(pkgs) > 0 {
		return fmt.Sprintf("missing %s\n    sudo apt-get install -y --no-install-recommends %[1]s     (or: make test, as root)", strings.Join(pkgs, " "))
	}
	for _, module := range []string{"nodemailer", "mailpit-api"} {
		if _, err := os.Stat("node/node_modules/" + module); err != nil {
			return module + " is missing\n    (cd test/e2e/node && npm ci)     (or: make test)"
		}
	}
	if os.Geteuid() != 0 {
		return "they need root, for ports below 1024 in a network of their own\n    sudo env \"PATH=$PATH\" make e2e"
	}
	if out, err := exec.Command("unshare", namespaces("true")...).CombinedOutput(); err != nil {
		return fmt.Sprintf("no namespaces here (%v: %s)\n    run on a machine, or in a container with CAP_SYS_ADMIN", err, strings.TrimSpace(string(out)))
	}
	return ""
}

// namespaces is unshare's command line: what is ours ends with us.
func namespaces(command ...string) []string {
	return append([]string{"--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "--"}, command...)
}

// outside builds the binary and runs this test program again inside.
func outside() (int, error) {
	dir, err := os.MkdirTemp("", "paquebot-e2e-")
	if err != nil {
		return 1, err
	}
	if os.Getenv("E2E_KEEP") == "" {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix and Dovecot work as other users
		return 1, err
	}
	bin := os.Getenv(envBin)
	if bin == "" {
		bin = filepath.Join(dir, "paquebot")
		if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/paquebot").CombinedOutput(); err != nil {
			return 1, fmt.Errorf("cannot build the binary: %w\n%s", err, out)
		}
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command("unshare", namespaces(append([]string{self}, os.Args[1:]...)...)...)
	cmd.Env = append(os.Environ(), envDir+"="+dir, envBin+"="+bin)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// inside makes the world and runs the tests in it.
func inside(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := newWorld(ctx, os.Getenv(envDir), os.Getenv(envBin))
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: cannot make the world:", err)
		return 1
	}
	here = w
	flag.Parse()
	if set := flag.Lookup("test.parallel"); set.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", "8") // most of a test is waiting for others
	}
	return m.Run()
}

// need returns the world, or skips the test where there is none.
func need(t *testing.T) *world {
	t.Helper()
	if here == nil {
		t.Skip("no world to test in: " + missing())
	}
	return here
}
