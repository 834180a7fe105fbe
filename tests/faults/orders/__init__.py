"""The app of the test project: places orders, publishes events, and notes all that happens."""
