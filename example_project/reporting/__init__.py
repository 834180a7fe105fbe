"""Statistics and an audit log: knows the shop through its events only."""
