"""HTTP past this host's rules, for httpx2: ``pip install netkat[httpx2]``.

>>> import httpx2
>>> import netkat.httpx2
>>> with httpx2.Client(transport=netkat.httpx2.Transport(via="172.30.0.12")) as client:
...     client.get("http://10.111.111.129/").text
'hello\\n'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import httpcore2
    import httpx2
except ImportError as error:
    raise ImportError(f"netkat.httpx2 needs {error.name}: pip install httpx2 anyio") from None

from netkat.integrations.transport import AwaitedTransport, SyncTransport

if TYPE_CHECKING:
    from netkat.api.stack import Stack

__all__ = ["AsyncTransport", "Transport"]


class Transport(SyncTransport, httpx2.BaseTransport):
    """A transport for httpx2.Client whose connections are netkat's.

    ``stack`` is a Stack that stays open when the transport closes; or Stack's own options
    (``interface``, ``via``, ``netns``, ``claim`` …) for one that closes with it; or neither, for
    the default one. The rest is httpx2.HTTPTransport's: ``verify`` (True, or an
    ssl.SSLContext), ``cert``, ``trust_env``, ``http1``, ``http2``, ``limits``, ``retries``,
    ``local_address``.

    Errors are httpx2's; ``__cause__`` is netkat's: ConnectError from Refused, ConnectTimeout
    from NoAnswer, ReadError from ConnectionReset.

    >>> import httpx2
    >>> import netkat.httpx2
    >>> with httpx2.Client(transport=netkat.httpx2.Transport()) as client:
    ...     try:
    ...         client.get("http://10.111.111.129:81/")
    ...     except httpx2.ConnectError as error:
    ...         type(error.__cause__).__name__
    'Refused'
    """

    library, core = httpx2, httpcore2

    def __init__(self, *, stack: Stack | None = None, **options: Any) -> None:
        super().__init__(stack, options)


class AsyncTransport(AwaitedTransport, httpx2.AsyncBaseTransport):
    """The same for httpx2.AsyncClient, under asyncio (uvloop too) and trio.

    >>> import asyncio
    >>> import httpx2
    >>> import netkat.httpx2
    >>> async def get(url):
    ...     async with httpx2.AsyncClient(transport=netkat.httpx2.AsyncTransport()) as client:
    ...         return (await client.get(url)).text
    >>> asyncio.run(get("http://10.111.111.129/"))
    'hello\\n'
    """

    library, core = httpx2, httpcore2

    def __init__(self, *, stack: Stack | None = None, **options: Any) -> None:
        super().__init__(stack, options)
