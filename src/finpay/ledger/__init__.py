"""The money, SQL first: accounts, transactions, entries, idempotency, the batcher.

What decides is `ledger.post_transfers` in db/migrations; this package carries requests to it in
batches, reads what it wrote, and proves it.
"""
