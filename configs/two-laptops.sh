#!/bin/sh
# Two machines that share no disk: each has all photos, makes one half, and their outputs are put
# together afterwards. Nothing is made twice, and no file of one meets a file of the other.
#
#   on the first:   sh two-laptops.sh 1
#   on the second:  sh two-laptops.sh 2
#   then, on the first, with the second's output in ./out-of-the-second:
#                   sh two-laptops.sh join out-of-the-second
set -eu

PHOTOS=${PHOTOS:-photos}
OUT=${OUT:-out}

case ${1:-} in
  1 | 2)
    # The photos must have the same names below this folder on both.
    exec batch-reimagine run "$PHOTOS" -o "$OUT" -n 4 --shard "$1/2" --budget 25 --price 0.01
    ;;
  join)
    # Pictures and rows of the halves bear different names, so that all fit into one folder.
    # Only while neither runs. What is there already stays.
    other=${2:?name the folder that holds the output of the other machine}
    # Some `cp` call it a failure to leave a file alone; `verify` tells whether all came.
    cp -R -n "$other/." "$OUT/" || true
    batch-reimagine verify "$OUT"
    # From here on without shards, or with others: nothing is bought again.
    batch-reimagine run "$PHOTOS" -o "$OUT" -n 4 --dry-run
    ;;
  *)
    echo "usage: sh two-laptops.sh 1|2|join FOLDER" >&2
    exit 2
    ;;
esac
