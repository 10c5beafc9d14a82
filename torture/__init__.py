"""The fault harness: real processes, real load, seeded faults, and twelve counts that must be zero.

`run` is the story of one run; `plan` says which faults come when, `rig` owns the processes,
`nemesis` harms them, `clients` send and write it all into the `journal`, `truth` is what the ledger
says in the end, and `verdict` compares the two. docs/reliability.md tells how to read the result.
"""
