#!/bin/sh
# usage: one_object.sh OUT.a IN.a...: makes OUT.a of one object that holds all of IN.a and whose only global names are quoin_*.
#
# Who links libquoin.a into a program shares its name space with us: without this, a function arena_alloc of theirs would be ours.
# Example: one_object.sh libquoin.a net/libnet.a txn/client/libclient.a
set -eu
case "${1-}" in '' | -h | --help) sed -n '2,5s/^# //p' "$0"; exit 0 ;; esac
out=$1
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${LD:-ld}" -r --whole-archive "$@" -o "$scratch/quoin.o"
"${OBJCOPY:-objcopy}" --wildcard --keep-global-symbol 'quoin_*' "$scratch/quoin.o"
rm -f "$out"
"${AR:-ar}" rcsD "$out" "$scratch/quoin.o"
