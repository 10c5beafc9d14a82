"""May this request go on? Session, rate limit, idempotency, cache: one Redis round trip.

PostgreSQL is the truth, Redis is only speed: whatever is kept here may vanish at any moment, and
then only time is lost. Only this package imports the Redis client.
"""
