package config

import "path/filepath"

// Where things are in the data directory. The server and the commands that work
// on a stopped server's data agree on it here.

// SpoolDir is the spool's folder.
func SpoolDir(dataDir string) string { return filepath.Join(dataDir, "spool") }

// AccountsDir is the folder of the accounts' tables (durable).
func AccountsDir(dataDir string) string { return filepath.Join(dataDir, "accounts") }

// HistoryDir is the folder of the history (unsynced).
func HistoryDir(dataDir string) string { return filepath.Join(dataDir, "history") }

// Names of tables in AccountsDir.
const (
	AccountsTable = "accounts"
	UsageTable    = "usage"
)
