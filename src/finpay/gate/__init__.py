"""Admission of requests: session, rate limits, idempotency key and cache in one Redis round trip.

PostgreSQL stores everything that matters. Redis makes it faster: its keys may vanish at any moment,
and then requests only take longer. Only this package imports the Redis client.
"""
