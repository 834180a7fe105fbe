"""Real processes, brokers and databases, killed and stopped; ledgers tell what came of it."""
