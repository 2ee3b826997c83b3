# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the programs in dev/ share. A program sources it first; it answers --help with the comment
# at the program's head and moves to the repository's root.

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Prints a command, then runs it.
run() {
    say "$(printf '%q ' "$@")"
    "$@"
}

case ${1:-} in
    -h | --help)
        sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
