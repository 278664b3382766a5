#!/bin/sh
# Installs the Debian packages that the crash tests use: strace (system call
# faults), mkfs.ext4, losetup and mount (a disk image for the power-loss test).
#
# Only as root, only with apt, only what is missing. It never fails the check:
# a test whose tool is absent skips and says which one it wanted.
set -u

missing=""
want() { # want COMMAND PACKAGE
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 && return
    case " $missing " in *" $2 "*) ;; *) missing="$missing $2" ;; esac
}

want strace strace
want mkfs.ext4 e2fsprogs
want losetup mount
want mount mount

[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed:$missing (needs root and apt); the tests that use them will skip" >&2
    exit 0
fi

echo "installing Debian packages:$missing ..."
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # the names are meant to split
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null; then
    echo "could not install:$missing; the tests that use them will skip" >&2
fi
exit 0
