"""Hostile requests made at random from a seed: raw bytes, JSON, headers, paths and queries."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from finpay.edge.routes import ROUTES
from tests.hostile.exchange import HOST, chunked, head
from tests.hostile.json_shapes import SHAPES

TEXTS: Final = (
    "", "\x00", "\ud800", "😀", "é", "\u202e", "\ufeff", "\u200b", "a" * 5_000, "'; DROP TABLE x;--",
    "%s%n", "{{7*7}}", "../../etc/passwd", "<script>", "\\", '"', "\r\nX: y", "NaN", "-0", "null",
    "ZAR", "alice@example.com", "acc_01h455vb4pex5vsknk084sn02q", "transaction.*", "\U0010ffff",
)  # fmt: skip
NUMBERS: Final = (
    0, -1, 1, 5, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, 10**30, 0.5, 1e308, -0.0, True, False, None,
)  # fmt: skip
NAMES: Final = (
    "amount", "receiver_id", "receiver_email", "currency", "description", "metadata", "email",
    "name",
    "password", "refresh_token", "mode", "transactions", "url", "event_types", "since", "enabled",
    "overlap_s", "new_password", "current_password", "__proto__", "", "a/b~c",
)  # fmt: skip
FIELDS: Final = (
    "Authorization", "X-Idempotency-Key", "Idempotency-Key", "Content-Type", "Content-Encoding",
    "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "Connection", "Host", "Cookie",
    "X-Forwarded-For", "X-Request-Id", "traceparent", "Origin", "Accept", "Range", "TE", "Trailer",
    "Access-Control-Request-Method", "If-None-Match", "Forwarded", "X-HTTP-Method-Override",
)  # fmt: skip
VALUES: Final = (
    "", "close", "keep-alive", "chunked", "gzip", "h2c", "100-continue", "*", "0", "5", "-1",
    "99999999",
    "application/json", "text/xml", "\x80\xff", "a" * 8_000, "bytes=0-", "::1, 10.0.0.1", "a,b;c=d",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "https://evil.example", "\t", '"',
    "a@b", "[::1", "a b",
)  # fmt: skip
TARGET_PARTS: Final = (
    "/", "//", "%00", "%2f", "%2e%2e", "%ff", "?", "&", "=", ";", "#", "..", "{id}", "\x7f", "\xff",
    "limit=", "cursor=", "status=", "9" * 30, "a" * 3_000, "2026-01-31T12:00:00Z", "%F0%9F%92%A9",
    "metadata[", "]", "][b]=", "%c3%28", "%", "+", "created_from=9999-12-31T23:59:59.999999Z",
    "at=0001-01-01T00:00:00Z", "metrics", "\\", "http://finpay.test", "@", ":", "%0d%0a",
)  # fmt: skip
METHODS: Final = ("GET", "GET", "POST", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT", "BREW")
PATHS: Final = tuple(sorted({route.path for route in ROUTES if "logout" not in route.path}))
LARGE_BYTES: Final = 2**20
LARGE_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class HostileRequests:
    """`token` is valid, and `account` receives what is sent by chance."""

    seed: int
    token: str
    account: str

    def __iter__(self) -> Iterator[bytes]:
        """Without end; the same for the same seed."""
        chance = random.Random(self.seed)
        kinds: tuple[Callable[[random.Random], bytes], ...] = (
            self._with_json, self._with_shape, self._with_headers, self._with_target, self._changed,
        )  # fmt: skip
        while True:
            yield chance.choice(kinds)(chance)

    def _with_json(self, chance: random.Random) -> bytes:
        value = random_json(chance, 4)
        if chance.random() < 0.5:
            value = {"receiver_id": self.account, "amount": 1} | {chance.choice(NAMES): value}
        return self._request(chance, json.dumps(value).encode())

    def _with_shape(self, chance: random.Random) -> bytes:
        make = chance.choice([*SHAPES.values()])
        if chance.random() < LARGE_SHARE:
            return self._request(chance, make(LARGE_BYTES), path="/api/v1/transactions/batch")
        return self._request(chance, make(chance.choice((16_000, 64_000))))

    def _with_headers(self, chance: random.Random) -> bytes:
        fields = [
            f"{chance.choice(FIELDS)}: {chance.choice(VALUES)}" for _ in range(chance.randrange(9))
        ]
        return self._request(chance, b'{"amount":1}', *fields)

    def _with_target(self, chance: random.Random) -> bytes:
        parts = [chance.choice((*PATHS, *TARGET_PARTS)) for _ in range(chance.randrange(1, 5))]
        token = f"Authorization: Bearer {self.token}"
        return head(f"{chance.choice(METHODS)} {''.join(parts)} HTTP/1.1", HOST, token)

    def _changed(self, chance: random.Random) -> bytes:
        """A transfer with some bytes changed, doubled, cut out or cut off, or none."""
        body = json.dumps({"receiver_id": self.account, "amount": 1}).encode()
        data = bytearray(self._request(chance, body, path="/api/v1/transactions"))
        for _ in range(chance.randrange(6)):
            at = chance.randrange(len(data))
            end = min(len(data), at + chance.randrange(1, 20))
            match chance.randrange(5):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    data[at:at] = data[at:end]
                case 2:
                    data[at:at] = chance.randbytes(end - at)
                case 3 if end - at < len(data):
                    del data[at:end]
                case _ if at:
                    del data[at:]
        return bytes(data)

    def _request(
        self, chance: random.Random, body: bytes, *fields: str, path: str | None = None
    ) -> bytes:
        method = "POST" if chance.random() < 0.8 else chance.choice(METHODS)
        path = (path or chance.choice(PATHS)).replace(
            "{id}", chance.choice(("x", "acc_1", self.account))
        )
        lines = [f"{method} {path} HTTP/1.1", HOST, "Content-Type: application/json", *fields]
        if chance.random() < 0.9:
            lines.append(f"Authorization: Bearer {self.token}")
        if chance.random() < 0.8:
            lines.append(f"X-Idempotency-Key: k{chance.randrange(200)}")
        if chance.random() < 0.3:
            size = chance.choice((1, 7, 4_000)) if len(body) < 2_000 else 500
            return head(*lines, "Transfer-Encoding: chunked") + chunked(body, size) + b"0\r\n\r\n"
        return head(*lines, f"Content-Length: {len(body)}") + body


def random_json(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(6 if depth else 3)
    if kind < 3:
        return chance.choice(TEXTS if kind else NUMBERS)
    items = [random_json(chance, depth - 1) for _ in range(chance.randrange(5))]
    if kind == 3:
        return items
    return {chance.choice(NAMES if kind == 4 else TEXTS): item for item in items}
