"""Hostile inputs, one table per concern."""
