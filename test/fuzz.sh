#!/usr/bin/env bash
# Runs every fuzz target of the project for the time given (default 60s).
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -HoE '^func Fuzz\w+' | sed 's/func //' | sort | while IFS=: read -r file target; do
	printf '%-28s %s\n' "$(dirname "$file")" "$target"
	out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "./$(dirname "$file")" 2>&1) || {
		printf '%s\n' "$out" >&2
		exit 1
	}
done
