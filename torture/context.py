"""What every phase of a run shares."""

from collections.abc import Callable
from dataclasses import dataclass, field

from finpay.db.pool import Database
from torture.cluster import Cluster
from torture.deliveries import Deliveries
from torture.history import History
from torture.ledger_snapshot import LedgerMonitor
from torture.load import LoadClients


@dataclass(slots=True)
class RunContext:
    """`database` reaches PostgreSQL without the proxy; `progress` gets a line for each phase."""

    cluster: Cluster
    database: Database
    history: History
    deliveries: Deliveries
    progress: Callable[[str], None]
    clients: LoadClients = field(init=False)
    monitor: LedgerMonitor = field(init=False)
