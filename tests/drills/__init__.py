"""Drills: what an operator does on a bad day, done for real, and measured."""
