#!/usr/bin/env bash
# Runs every fuzz target of the project for the time given (default 60s), each
# package's targets with one binary.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cache=$(go env GOCACHE)/fuzz

fuzz() { # package target
	(cd "$1" && "$tmp/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$time" \
		-test.fuzzminimizetime 10x -test.fuzzcachedir "$cache/paquebot/$1") >"$tmp/out" 2>&1 && return
	# The fuzzing engine reports its own deadline as a failure when a worker is
	# busy at that moment; a finding is one that names its input.
	if grep -q 'context deadline exceeded' "$tmp/out" && ! grep -q 'Failing input written' "$tmp/out"; then
		return
	fi
	cat "$tmp/out" >&2
	return 1
}

last=""
while IFS=: read -r file target; do
	package=$(dirname "$file")
	if [ "$package" != "$last" ]; then
		go test -c -fuzz . -o "$tmp/fuzz.test" "./$package"
		last=$package
	fi
	printf '%-24s %s\n' "$package" "$target"
	fuzz "$package" "$target"
done < <(git ls-files --cached --others --exclude-standard '*_test.go' |
	xargs grep -HoE '^func Fuzz\w+' | sed 's/func //' | sort)
