# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The common parts of the programs in dev/. A program sources this file first. For --help the file prints the comment
# at the head of the program. Otherwise it changes to the repository's root.

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
