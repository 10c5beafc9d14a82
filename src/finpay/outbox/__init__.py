"""Events: recorded by SQL in the commit of the change, read back here.

`events` reads them, `event_types` is the closed list of types, `resources` has their JSON shapes,
`schemas` their JSON Schemas and AsyncAPI, `event_ids` derives their ids.
"""
