"""Reading a request: its head, query parameters, JSON body, cursors and client address."""
