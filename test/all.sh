#!/usr/bin/env bash
# Everything CI runs, in the order in which it fails soonest.
# --fast leaves out the end-to-end tests, the laboratory and the fuzzing.
set -euo pipefail
cd "$(dirname "$0")/.."
fast=${1:-}

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "gofmt"
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
	printf 'not formatted; run gofmt -w on:\n%s\n' "$unformatted" >&2
	exit 1
fi

step "go vet"
go vet ./...

step "staticcheck"
go tool staticcheck ./...

# The race detector makes the crash tests eight times slower and adds nothing to
# their thousands of recoveries: with it they run short, then without it in full.
step "tests with the race detector"
go test -race -short -timeout 8m ./cmd/... ./internal/...

step "crash tests in full"
go test -timeout 8m ./internal/spool/

if [ "$fast" = "--fast" ]; then
	exit 0
fi

step "fuzzing, a few seconds for each parser"
./test/fuzz.sh "${FUZZTIME:-1s}"

step "end to end, with programs we did not write"
go test -count=1 -timeout 30m -v ./test/e2e/ 2>&1 | grep -vE '^(=== (RUN|PAUSE|CONT|NAME)|    --- PASS)' || exit 1

step "the doctor in a laboratory of broken networks"
go test -count=1 -timeout 5m -v ./test/lab/ 2>&1 | grep -vE '^(=== (RUN|PAUSE|CONT|NAME)|    --- PASS)' || exit 1

step "done"
