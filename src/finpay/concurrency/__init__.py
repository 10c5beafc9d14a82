"""Batching of concurrent work, and what one user may have of it."""
