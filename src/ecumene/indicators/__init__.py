"""How good a map is and what it says: accuracy, area-adjusted estimates, areas, sampling designs."""
