"""HTTP past this host's rules, for httpx: ``pip install netkat[httpx]``.

>>> import httpx
>>> import netkat.httpx
>>> with httpx.Client(transport=netkat.httpx.Transport(via="172.30.0.12")) as client:
...     client.get("http://10.111.111.129/").text
'hello\\n'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import httpcore
    import httpx
except ImportError as error:
    raise ImportError(f"netkat.httpx needs {error.name}: pip install httpx anyio") from None

from netkat.integrations.transport import AwaitedTransport, SyncTransport

if TYPE_CHECKING:
    from netkat.api.stack import Stack

__all__ = ["AsyncTransport", "Transport"]


class Transport(SyncTransport, httpx.BaseTransport):
    """A transport for httpx.Client whose connections are netkat's.

    ``stack`` is a Stack that stays open when the transport closes; or Stack's own options
    (``interface``, ``via``, ``netns``, ``claim`` …) for one that closes with it; or neither, for
    the default one. The rest is httpx.HTTPTransport's: ``verify`` (True, or an
    ssl.SSLContext), ``cert``, ``trust_env``, ``http1``, ``http2``, ``limits``, ``retries``,
    ``local_address``.

    Errors are httpx's; ``__cause__`` is netkat's: ConnectError from Refused, ConnectTimeout
    from NoAnswer, ReadError from ConnectionReset.

    >>> import httpx
    >>> import netkat.httpx
    >>> with httpx.Client(transport=netkat.httpx.Transport()) as client:
    ...     try:
    ...         client.get("http://10.111.111.129:81/")
    ...     except httpx.ConnectError as error:
    ...         type(error.__cause__).__name__
    'Refused'
    """

    library, core = httpx, httpcore

    def __init__(self, *, stack: Stack | None = None, **options: Any) -> None:
        super().__init__(stack, options)


class AsyncTransport(AwaitedTransport, httpx.AsyncBaseTransport):
    """The same for httpx.AsyncClient, under asyncio (uvloop too) and trio.

    >>> import asyncio
    >>> import httpx
    >>> import netkat.httpx
    >>> async def get(url):
    ...     async with httpx.AsyncClient(transport=netkat.httpx.AsyncTransport()) as client:
    ...         return (await client.get(url)).text
    >>> asyncio.run(get("http://10.111.111.129/"))
    'hello\\n'
    """

    library, core = httpx, httpcore

    def __init__(self, *, stack: Stack | None = None, **options: Any) -> None:
        super().__init__(stack, options)
