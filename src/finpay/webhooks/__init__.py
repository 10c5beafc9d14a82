"""Telling the world: deliveries with leases, a sender that can't be turned against us, retention.

`worker` is the loop; `claims`, `sender` and `outcomes` are its three steps. `again` is what an
owner may ask for (retry, replay, ping), `targets` says which URLs are let in.
"""
