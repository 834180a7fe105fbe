"""Customers, orders and stock: publishes events, and handles some of them."""
