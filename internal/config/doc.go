// Package config reads the configuration: one strict TOML file (design §4).
//
// Load gives plain data with every default filled in, or everything that is
// wrong with the file at once: each Problem has its line, the reason and what to
// do. Nothing else in the house reads the file, and this package knows nobody:
// node turns its data into what the rooms ask for.
//
// Read config.go (the tree) and keys.go (every key's meaning, default and
// example, the one place all of that is said: `config explain`, the reference
// page and the defaults themselves come from it). parse.go is the flow: text to
// generic values (BurntSushi/toml), bind.go to the tree, check*.go for what is
// wrong beyond spelling, world.go for what only the machine knows (files,
// certificates, secrets).
//
// It may not know the rooms, sockets or DNS. It opens files only in Load.
//
// Invariants: a secret is named in the file by reference (file or environment)
// and never printed; Parse never panics, whatever the text; Show of a
// configuration, parsed again, is the same configuration.
package config
