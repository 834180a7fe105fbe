"""Free loopback ports for servers that are stopped and started again on the same port."""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
FIRST_PORT = 15_000
EPHEMERAL_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_EPHEMERAL_PORT_ELSEWHERE = 32_768


def free_ports(count: int) -> list[int]:
    """Return `count` different loopback ports on which nothing listens.

    They lie below the range from which the kernel numbers outgoing connections: while a
    server is down, a client that keeps trying to reconnect to a port in that range can be
    given that very port as its own, and so connect to itself and keep the server out.
    """
    candidates = list(range(FIRST_PORT, first_ephemeral_port()))
    random.SystemRandom().shuffle(candidates)
    ports: list[int] = []
    while len(ports) < count:
        port = candidates.pop()
        if is_free(port):
            ports.append(port)
    return ports


def first_ephemeral_port() -> int:
    """Return where outgoing ports begin, if that leaves room below; the usual bound if not."""
    try:
        first = int(EPHEMERAL_RANGE_FILE.read_text().split()[0])
    except OSError:
        first = FIRST_EPHEMERAL_PORT_ELSEWHERE
    return first if first > FIRST_PORT + 1_000 else FIRST_EPHEMERAL_PORT_ELSEWHERE


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
