#!/bin/sh
# The shell's way: xargs, base64, jq and curl; photos go as they are.
# usage: curl.sh PHOTOS OUT URL N CONCURRENCY LIMIT
set -eu
mkdir -p "$2"
export OUT="$2" URL="$3/v3/reimagine"
find "$1" -name '*.jpg' | sort | head -n "$6" | while read -r photo; do
    n=1
    while [ "$n" -le "$4" ]; do
        printf '%s %s\n' "$photo" "$n"
        n=$((n + 1))
    done
done | xargs -P "$5" -L 1 sh -c '
    base64 -w 0 "$0" | jq -Rc "{image_file: .}" |
        curl -fsS -H "Authorization: Bearer $NOVITA_API_KEY" -H "Content-Type: application/json" \
            --data-binary @- "$URL" |
        jq -r .image_file | base64 -d > "$OUT/$(basename "$0" .jpg)_$1.png"'
