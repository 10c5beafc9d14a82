"""The fault harness: real processes, real load, seeded faults, and twelve counts that must be zero.

`run` has the phases of a run, `fault_plan` says which faults come when, `cluster` owns the
processes, `nemesis` injects the faults, `load` sends requests and records them in the `history`,
`ledger_snapshot` reads the ledger at the end, and `checker` compares history and ledger.
docs/reliability.md explains how to read the result.
"""
