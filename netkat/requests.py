"""HTTP past this host's rules, for requests and urllib3: ``pip install netkat[requests]``.

>>> import requests
>>> import netkat.requests
>>> with requests.Session() as session:
...     adapter = netkat.requests.mount(session, via="172.30.0.12")
...     session.get("http://10.111.111.129/").text
'hello\\n'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import requests
    import requests.adapters
except ImportError as error:
    raise ImportError(f"netkat.requests needs {error.name}: pip install requests") from None

from netkat.integrations.network import Network, fault_behind
from netkat.integrations.urllib3_pool import pool_classes

if TYPE_CHECKING:
    from netkat.api.stack import Stack

__all__ = ["Adapter", "fault_behind", "mount"]


class Adapter(requests.adapters.HTTPAdapter):
    """An adapter for requests.Session.mount() whose connections are netkat's.

    ``stack`` is a Stack that stays open when the adapter closes; or Stack's own options
    (``interface``, ``via``, ``netns``, ``claim`` …) for one that closes with it; or neither, for
    the default one. The rest is HTTPAdapter's: ``pool_connections``, ``pool_maxsize``,
    ``max_retries``, ``pool_block``.

    Errors are requests'; netkat's stands behind them, and fault_behind() finds it.

    >>> import requests
    >>> import netkat.requests
    >>> with requests.Session() as session:
    ...     session.mount("http://10.111.111.129", netkat.requests.Adapter(max_retries=0))
    ...     try:
    ...         session.get("http://10.111.111.129:81/")
    ...     except requests.ConnectionError as error:
    ...         type(netkat.requests.fault_behind(error)).__name__
    'Refused'
    """

    def __init__(self, *, stack: Stack | None = None, **options: Any) -> None:
        self._network = Network.from_options(stack, options)
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """As HTTPAdapter's, with netkat's connections in every pool."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = pool_classes(self._network)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """As HTTPAdapter's: the way to an HTTP proxy is netkat's as well.

        Errors: InvalidSchema for SOCKS, whose connections would be the kernel's.
        """
        if proxy.lower().startswith("socks"):
            raise requests.exceptions.InvalidSchema(f"{proxy}: netkat goes by HTTP proxies only")
        pools = super().proxy_manager_for(proxy, **options)
        pools.pool_classes_by_scheme = pool_classes(self._network)
        return pools

    def close(self) -> None:
        """Every connection, and the stack if it is the adapter's own; more than once is once."""
        super().close()
        self._network.close()


def mount(session: requests.Session, **options: Any) -> Adapter:
    """Have a session do all its HTTP and HTTPS so; ``options`` are the Adapter's.

    >>> import requests
    >>> import netkat.requests
    >>> with requests.Session() as session:
    ...     adapter = netkat.requests.mount(session)
    ...     session.get("http://10.111.111.129/").status_code
    200
    """
    adapter = Adapter(**options)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return adapter
