# What the set-up scripts share; sourced by them.

say() {
    printf '== %s\n' "$*"
}

give_up() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

can_apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# Install Debian packages. None of them gets to start a service: Debian asks policy-rc.d
# whether it may, and where the machine has none, ours says no for as long as this takes.
apt_install() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made_policy=yes
    fi
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    if [ "${made_policy:-no}" = yes ]; then
        rm -f "$policy"
    fi
}

# Stop the service $1, which has the file $2 while it runs, and keep it from starting with the
# machine. Call it only after the package was missing, so a service of it is one that we started.
stop_and_disable_service() {
    if command -v systemctl >/dev/null && systemctl is-active --quiet "$1"; then
        say "Stopping the service that the package started"
        systemctl stop "$1"
    elif [ -e "$2" ]; then
        say "Stopping the service that the package started"
        service "$1" stop
    fi
    if command -v systemctl >/dev/null; then
        systemctl disable "$1" >/dev/null 2>&1 || true
    fi
}
