"""One module per resource: a function per route, from checked input to a response."""
