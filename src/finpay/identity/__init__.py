"""Who somebody is: users, passwords, access tokens, sessions and their refresh tokens.

`users.Identity` is what the edge talks to. PostgreSQL is the truth about sessions; that the gate
remembers living ones in Redis is only speed, so what ends a session here is told to it afterwards.
"""
