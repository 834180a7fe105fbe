"""The example shop: its views, its handlers, and the demo as a whole."""
