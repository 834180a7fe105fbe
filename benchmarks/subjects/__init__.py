"""What is measured. Each runs in a process of its own: ``python -m benchmarks.subjects NAME``.

Modules whose names begin with ``peer_`` are run by the interpreter that has the peer.
"""
