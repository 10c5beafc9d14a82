"""Parts of settings: URLs, origins and lists, as text in an environment variable."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

import idna

# Parameters of database URLs that asyncpg would send to the server, which refuses them. Those of
# libpq only tune the connection, except channel_binding, which the driver can't do: use
# sslmode=verify-full to be sure of the server. Those of Prisma and node-postgres mean nothing here.
# Others stay, above all those that decide which server is trusted: hostaddr, require_auth, …
_DROPPED = (
    "channel_binding connect_timeout fallback_application_name gssdelegation gssencmode "
    "keepalives keepalives_count keepalives_idle keepalives_interval load_balance_hosts "
    "max_protocol_version min_protocol_version sslcertmode sslcompression sslsni tcp_user_timeout "
    "connection_limit pgbouncer pool_timeout schema socket_timeout statement_cache_size "
    "uselibpqcompat"
)
_DROPPED_PARAMETERS: Final = frozenset(_DROPPED.split())
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def normalise_database_url(url: str) -> str:
    """The URL without parameters that other drivers have and ours refuses."""
    base, mark, query = url.partition("?")
    kept = [
        part
        for part in query.split("&")
        if unquote(part.partition("=")[0]) not in _DROPPED_PARAMETERS and part
    ]
    return base + (mark + "&".join(kept) if kept else "")


def check_origin(origin: str) -> None:
    """ValueError unless a browser may send this text as the header Origin (RFC 6454 §6.2)."""
    if origin in ("*", "null"):
        raise ValueError(
            f"{origin} would allow any page; list origins such as https://shop.example"
        )
    try:
        sent = _origin_as_sent(origin)
    except ValueError:
        sent = ""
    if not sent:
        raise ValueError("expected origins such as https://shop.example or http://localhost:5173")
    if origin != sent:
        raise ValueError(f"no browser sends this form of an origin; write {sent}")


def _origin_as_sent(url: str) -> str:
    """The origin of a URL as browsers write it. Empty or a ValueError if it has none."""
    split = urlsplit(url)
    host = split.hostname or ""
    if not split.scheme or not host:
        return ""
    if ":" in host:
        host = f"[{ip_address(host)}]"
    elif not host.isascii():
        host = idna.encode(host, uts46=True).decode()
    elif not re.fullmatch(r"[a-z0-9._-]+", host):
        return ""
    port = "" if split.port in (None, _DEFAULT_PORTS.get(split.scheme)) else f":{split.port}"
    return f"{split.scheme}://{host}{port}"


def url(value: str, *schemes: str) -> str:
    """The value. Checks the scheme only; the drivers check the rest."""
    if value.partition("://")[0] not in schemes:
        raise ValueError(f"expected a URL that begins with {schemes[0]}://")
    return value


def root_url(value: str) -> str:
    """Without a slash at its end. ValueError unless a path can be added to it."""
    split = urlsplit(url(value, "https", "http"))
    if not split.hostname or split.username or split.query or split.fragment or len(value) > 1024:
        raise ValueError("expected a URL such as https://pay.example.com, without a query")
    return value.rstrip("/")


def parts(value: str) -> list[str]:
    """The parts between commas, without spaces around them."""
    return [part.strip() for part in value.split(",") if part.strip()]
