"""Reading a request: headers, query, body, idempotency key, client address, rate limits."""
