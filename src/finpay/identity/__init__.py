"""Users, passwords, second factor, access tokens, sessions with refresh tokens, API keys, roles.

The edge calls `users.Identity`. PostgreSQL is the source of truth about sessions. The gate caches
active sessions in Redis, so after a session was revoked here the edge writes a tombstone there.
"""
