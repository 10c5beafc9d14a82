"""A connection with TLS is closed by both sides: a server that hangs does not answer the close."""

import asyncio
from pathlib import Path
from typing import Final

from finpay.gate.redis_client import PROBE_TIMEOUT_S
from tests.gate.requests import Caller, open_gate, until
from tests.servers import OwnValkey
from tests.ship.tls import ended_tls, make_certificate
from tests.support.tcp_proxy import port_of, proxy_before

OUTAGE_S: Final = 2 * PROBE_TIMEOUT_S + 0.5  # longer than closing a connection is waited for


async def test_closes_after_redis_with_tls_did_not_answer(
    valkey: OwnValkey, caller: Caller, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    with (
        ended_tls(port_of(valkey.url), certificate) as tls_port,
        proxy_before(f"rediss://localhost:{tls_port}") as (proxy, _),
    ):
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={certificate.authority}"
        async with open_gate(url) as gate:
            assert not (await gate.admit(caller.admission())).degraded
            proxy.start_black_hole()
            assert (await gate.admit(caller.admission())).degraded
            await asyncio.sleep(OUTAGE_S)
            proxy.end_black_hole()
            await until(lambda: not gate.redis_down)
            assert not (await gate.admit(caller.admission())).degraded
