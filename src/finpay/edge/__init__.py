"""HTTP: routes on one screen, the pipeline around them, handlers, schemas, problem+json."""
