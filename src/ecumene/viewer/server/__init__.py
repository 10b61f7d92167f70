"""The web map's server: reads products, answers GET requests, fetches nothing."""
