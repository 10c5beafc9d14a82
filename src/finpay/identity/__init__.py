"""Users, passwords, access tokens, sessions and their refresh tokens.

The edge calls `users.Identity`. PostgreSQL is the source of truth about sessions. The gate caches
active sessions in Redis, so after a session was revoked here the edge writes a tombstone there.
"""
