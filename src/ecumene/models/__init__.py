"""The `Model` bundle and what executes it; import `Model` from `ecumene.models.bundle`."""
