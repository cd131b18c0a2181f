package observe

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Notifier tells systemd how the service does (sd_notify). Without systemd all
// of it does nothing.
type Notifier struct{}

// Ready: mail is accepted now. Also after a reload.
func (Notifier) Ready(status string) { notify(daemon.SdNotifyReady + "\nSTATUS=" + clean(status)) }

// Reloading: the configuration is being read again; Ready follows.
func (Notifier) Reloading() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil { // demanded by Type=notify-reload
		notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
	}
}

// Stopping: no more mail is accepted.
func (Notifier) Stopping() { notify(daemon.SdNotifyStopping) }

// Status is the sentence that `systemctl status` shows.
func (Notifier) Status(s string) { notify("STATUS=" + clean(s)) }

// Watchdog tells systemd that we live, as often as it asks, while alive returns
// nil. It returns when ctx ends, at once if no watchdog is configured.
func (Notifier) Watchdog(ctx context.Context, alive func(context.Context) error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	t := time.NewTicker(interval / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if alive(ctx) == nil {
				notify(daemon.SdNotifyWatchdog)
			}
		}
	}
}

// notify: systemd not listening is no reason to stop.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
