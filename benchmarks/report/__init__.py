"""docs/performance.md from the results: tables, goals, plots."""
