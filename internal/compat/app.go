package compat

import (
	"net/http"
	"runtime/metrics"
	"strconv"
	"time"
)

// AppInfo is what this instance is.
type AppInfo struct {
	Version       string
	LatestVersion string // "disabled": nobody is asked
	Database      string
	DatabaseSize  int64
	Messages      int
	Unread        int
	Tags          map[string]int
	RuntimeStats  RuntimeStats
}

// RuntimeStats are since the start; sizes in octets, Uptime in seconds.
type RuntimeStats struct {
	Uptime           int64
	Memory           uint64
	MessagesDeleted  uint64
	SMTPAccepted     uint64
	SMTPAcceptedSize int64
	SMTPRejected     uint64
	SMTPIgnored      uint64
}

func (a *API) info(w http.ResponseWriter, _ *http.Request) {
	s := a.needs.Store.Stat()
	writeJSON(w, AppInfo{
		Version: a.config.Version, LatestVersion: "disabled",
		Database: a.config.Database, DatabaseSize: s.Bytes,
		Messages: s.Messages, Unread: a.needs.Store.Unread(), Tags: a.needs.Store.Tags(),
		RuntimeStats: RuntimeStats{
			Uptime: int64(time.Since(a.began).Seconds()), Memory: memory(),
			MessagesDeleted: s.Deleted, SMTPAccepted: s.Caught, SMTPAcceptedSize: s.CaughtBytes, SMTPRejected: s.Refused,
		},
	})
}

// memory is what the process has from the system, less what it gave back.
func memory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// WebUI is what Mailpit's page asks what it can do.
type WebUI struct {
	Label               string
	MessageRelay        MessageRelay
	SpamAssassin        bool
	ChaosEnabled        bool
	DuplicatesIgnored   bool
	HideDeleteAllButton bool
}

// MessageRelay is the usual way out, if there is one.
type MessageRelay struct {
	Enabled            bool
	SMTPServer         string
	ReturnPath         string
	AllowedRecipients  string
	BlockedRecipients  string
	OverrideFrom       string
	PreserveMessageIDs bool
	RecipientAllowlist string // AllowedRecipients by its old name
}

func (a *API) webui(w http.ResponseWriter, _ *http.Request) {
	out := WebUI{Label: a.config.Label, ChaosEnabled: a.needs.Mishaps != nil}
	if all := a.relays(); len(all) > 0 {
		out.MessageRelay = MessageRelay{Enabled: true, SMTPServer: all[0].Host, PreserveMessageIDs: true}
		if all[0].Port != 0 {
			out.MessageRelay.SMTPServer += ":" + strconv.Itoa(int(all[0].Port))
		}
	}
	writeJSON(w, out)
}
