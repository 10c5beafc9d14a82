"""The parts of one API process that handlers use. Built in app/api.py."""

from dataclasses import dataclass

from finpay.db.pool import Database
from finpay.edge.health_monitor import HealthMonitor
from finpay.gate.gate import Gate
from finpay.identity.request_log import RequestLog
from finpay.identity.users import Identity
from finpay.ledger.batched_reads import BatchedReads
from finpay.ledger.batcher import Batcher
from finpay.operators.overview import CachedOverview
from finpay.settings import Settings
from finpay.statements.pdf import PdfMaker
from finpay.statements.reads import StatementReads
from finpay.webhooks.notifier import Notifier
from finpay.webhooks.ssrf.url_policy import EndpointUrls


@dataclass(frozen=True, slots=True)
class Services:
    """`operators` takes the role finpay_operator; None without FINPAY_DATABASE_OPERATOR_URL.

    `openapi` is the document as JSON. `metrics_folder` is shared by all API processes.
    """

    settings: Settings
    database: Database
    batcher: Batcher
    reads: BatchedReads
    statements: StatementReads
    pdf: PdfMaker
    operators: Database | None
    overview: CachedOverview
    notifier: Notifier
    endpoint_urls: EndpointUrls
    identity: Identity
    request_log: RequestLog
    gate: Gate
    health: HealthMonitor
    openapi: bytes
    metrics_folder: str | None
