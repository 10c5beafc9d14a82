"""Batching of concurrent work, and deadlines for it."""
