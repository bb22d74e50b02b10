"""One HTTP session a process, shared by every clone: to the real hosts, or with all of them led to the exchange simulator.

`exchange_url` alone rewrites scheme and host of every ccxt URL; with `exchange_ca_file` the real names stay and a resolver leads them there
over TLS, so that ccxt's per-host error tables are those of production.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult

from engine.config import Settings
from engine.errors import ConfigInvalid


class FixedResolver(AbstractResolver):
    """Answers every host name with one address and port."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """The simulator's address, whatever was asked."""
        del port
        return [ResolveResult(hostname=host, host=self._host, port=self._port, family=family, proto=0, flags=int(socket.AI_NUMERICHOST))]

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class VenueNet:
    """The session, its TLS context, and the base URL that replaces real hosts (None: real names)."""

    session: aiohttp.ClientSession
    ssl_context: ssl.SSLContext
    base_url: str | None
    timeout_ms: int

    def rewrite(self, url: str) -> str:
        """The URL with scheme and host replaced and the path kept; a URL template without path keeps none."""
        if self.base_url is None:
            return url
        base, old = urlsplit(self.base_url), urlsplit(url)
        return urlunsplit((base.scheme, base.netloc, old.path, old.query, ""))

    async def close(self) -> None:
        """Close the shared session."""
        await self.session.close()


def open_paper_net(settings: Settings) -> VenueNet | None:
    """The session to the paper venue beside the real ones; None when there is none."""
    if settings.paper_url is None:
        return None
    return open_net(settings.model_copy(update={"exchange_url": settings.paper_url, "exchange_ca_file": None}))


def open_net(settings: Settings) -> VenueNet:
    """The session that the settings ask for; call inside a running loop."""
    context = ssl.create_default_context(cafile=settings.exchange_ca_file or certifi.where())
    limit = settings.orders_in_flight + 64
    resolver: AbstractResolver | None = None
    base_url = settings.exchange_url
    if settings.exchange_ca_file:
        target = urlsplit(settings.exchange_url or "")
        if not target.hostname or not target.port:
            raise ConfigInvalid("exchange_ca_file needs exchange_url with host and port")
        resolver, base_url = FixedResolver(target.hostname, target.port), None
    connector = aiohttp.TCPConnector(limit=limit, ssl=context, resolver=resolver, keepalive_timeout=10.0)
    session = aiohttp.ClientSession(connector=connector)
    return VenueNet(session, context, base_url, int(settings.exchange_timeout_s * 1000))
