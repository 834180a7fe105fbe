"""The Django app: settings, publishing, the registry, checks and commands."""
