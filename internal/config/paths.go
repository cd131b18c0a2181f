package config

import "path/filepath"

// Where things are in the data directory. The server and the commands that work
// on a stopped server's data agree on it here.

// SpoolDir is the spool's folder.
func SpoolDir(dataDir string) string { return filepath.Join(dataDir, "spool") }

// TablesDir is the folder of the durable tables: accounts, rules.
func TablesDir(dataDir string) string { return filepath.Join(dataDir, "tables") }

// HistoryDir is the folder of the history (unsynced).
func HistoryDir(dataDir string) string { return filepath.Join(dataDir, "history") }

// AccountsTable is the table of TablesDir that holds the accounts.
const AccountsTable = "accounts"
