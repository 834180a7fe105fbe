"""A cluster of three nodes, of which some die, freeze or are cut off."""
