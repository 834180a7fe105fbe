"""A small shop that publishes and handles domain events."""
