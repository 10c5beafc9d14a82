"""Planted bugs in the money code, each a small edit of a copy of the tree.

`make mutants` plants them one by one and runs the tests that should notice. A mutant that survives
is a gap in the tests, or has an explanation in mutations.py.
"""
