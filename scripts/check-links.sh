#!/usr/bin/env bash
# Fails where a page of ours links to a file that is not there, and names page and link.
set -euo pipefail
cd "$(dirname "$0")/.."

broken=0
while IFS=: read -r page link; do
    target="$(dirname "$page")/${link%%#*}"
    if [[ ! -e "$target" ]]; then
        printf '%s links to %s, which is not there\n' "$page" "$link" >&2
        broken=1
    fi
done < <(grep --only-matching --with-filename --no-messages -E '\]\([^)]+\)' ./*.md docs/*.md docs/adr/*.md |
    sed -E 's/\]\(([^) ]+).*\)$/\1/' | grep -vE ':(https?:|mailto:|#)')
exit "$broken"
