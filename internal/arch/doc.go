// Package arch holds the rules of the house as tests: which package may import
// which, what every package must say of itself, what no package may do, and
// which tables of the documentation must be true.
//
// It has no code of its own. Read layers_test.go first: its table is the one
// of ARCHITECTURE.md.
package arch
