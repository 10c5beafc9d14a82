"""Inputs made to harm: one table for each concern."""
