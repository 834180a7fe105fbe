"""The database transport, beyond the contract that `tests.conformance` holds it to."""
