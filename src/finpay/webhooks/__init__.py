"""Webhook delivery: leases in PostgreSQL, attempts over HTTP, retries, retention.

`worker` runs `leasing`, `sender` and `attempts` in a loop. `endpoints` and `redelivery` (retry,
replay, ping) are the owner's operations, `deliveries` the owner's reads. `ssrf` decides which URLs
and addresses may be called.
"""
