#!/bin/sh
# The catcher without a container, for any CI: ports that are free, told as JSON;
# ready when the JSON is there; gone without a trace at the end.
set -eu
dir=$(mktemp -d)
mkfifo "$dir/ports"
paquebot dev --ports random >"$dir/ports" 2>"$dir/log" &
catcher=$!
trap 'kill "$catcher" 2>/dev/null || true; rm -rf "$dir"' EXIT
# The JSON is one object; the pipe stays open, so read to its closing brace.
sed '/^}/q' <"$dir/ports" >"$dir/ports.json"
export PAQUEBOT_DEV_URL=$(sed -n 's/.*"console": "\(.*\)".*/\1/p' "$dir/ports.json")
export MAIL_PORT=$(sed -n 's/.*"submission": \([0-9]*\).*/\1/p' "$dir/ports.json")

"$@" || {
	code=$?
	paquebot dev export --out "${ARTEFACTS:-artefacts}"
	exit "$code"
}
