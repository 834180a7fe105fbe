"""The Django app: settings, publishing, outbox, inbox, the registry, checks and commands."""
