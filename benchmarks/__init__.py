"""Measurements beside peers, in one run. See README.md."""
