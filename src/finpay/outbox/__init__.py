"""What happened, committed with it: events, read back and told as the wire shows them.

`events` reads them, `shapes` says what they look like, `catalogue` which there are, `event_ids`
how an event is named. They are written in SQL: by the ledger's functions, and by `outbox.record`.
"""
