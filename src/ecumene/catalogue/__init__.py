"""Many scenes onto a grid of tiles: search, composites, claims, stores, clusters, and the collection they make."""
