"""What handlers may use. Built in app.py."""

from dataclasses import dataclass

from finpay.db.pool import Database
from finpay.edge.health_monitor import HealthMonitor
from finpay.gate.gate import Gate
from finpay.identity.users import Identity
from finpay.ledger.batched_reads import BatchedReads
from finpay.ledger.batcher import Batcher
from finpay.settings import Settings
from finpay.webhooks.notifier import Notifier


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one process."""

    settings: Settings
    database: Database
    batcher: Batcher
    reader: BatchedReads
    waker: Notifier
    identity: Identity
    gate: Gate
    probe: HealthMonitor
    metrics_folder: str | None
