"""Development on one machine: PostgreSQL and Valkey from wheels, seed data, `finpay dev`.

`event_forwarder` and `triggers` are what `finpay webhooks listen` and `trigger` do.
"""
