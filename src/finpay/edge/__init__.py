"""HTTP: routes on one screen, the pipeline around them, handlers, shapes, problem+json."""
