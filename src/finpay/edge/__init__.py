"""HTTP: tables of routes, the pipeline around them, handlers, schemas, problem+json."""
