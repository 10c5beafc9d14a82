"""The end of a process while Redis has not answered yet."""

import asyncio
import gc
from typing import Any

from finpay.gate.redis_client import RedisClient
from tests.servers import OwnValkey


async def test_a_call_without_its_caller_is_no_error_in_the_log(valkey: OwnValkey) -> None:
    """Otherwise asyncio logs it, with a traceback."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    client = RedisClient(valkey.url, {})
    await client.start()
    assert not client.is_open
    valkey.hang()
    check = asyncio.create_task(client.ping())
    await asyncio.sleep(0.02)
    check.cancel()
    await asyncio.wait({check})
    await client.close()
    await asyncio.sleep(0.02)
    del check  # its frames hold the call
    gc.collect()
    assert logged == []
