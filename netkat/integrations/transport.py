"""A transport for httpx, and for httpx2, on public ground alone: their models, httpcore's pool.

Each library's own HTTPTransport makes its pool itself and takes no network backend, so the
few lines between request and pool are written here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from netkat.integrations.network import Network, fault_behind


class Pooled:
    """What both transports have in common. ``library`` is httpx or httpx2, ``core`` its core."""

    library: ModuleType
    core: ModuleType

    def __init__(self, pool: str, backend: Any, stack: Any, options: dict[str, Any]) -> None:
        self._network = Network.from_options(stack, options)
        limits = options.pop("limits", None) or self.library.Limits(
            max_connections=100, max_keepalive_connections=20
        )
        verify, cert = options.pop("verify", True), options.pop("cert", None)
        trust_env = options.pop("trust_env", True)
        self._pool: Any = getattr(self.core, pool)(
            ssl_context=self.library.create_ssl_context(
                verify=verify, cert=cert, trust_env=trust_env
            ),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=backend(self.core, self._network),
            **options,
        )

    def _to_core(self, request: Any) -> Any:
        url = request.url
        return self.core.Request(
            method=request.method,
            url=self.core.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )

    def _from_core(self, response: Any, stream: Any) -> Any:
        return self.library.Response(
            status_code=response.status,
            headers=response.headers,
            stream=stream,
            extensions=response.extensions,
        )

    @contextmanager
    def told(self) -> Iterator[None]:
        """The core's exceptions as the library's of the same name, netkat's fault as the cause."""
        try:
            yield
        except Exception as error:
            name = type(error).__name__
            if type(error) is not getattr(self.core, name, None):
                raise
            raise getattr(self.library, name)(str(error)) from fault_behind(error) or error


class SyncTransport(Pooled):
    """Blocking."""

    def __init__(self, stack: Any, options: dict[str, Any]) -> None:
        from netkat.integrations.backend import Backend

        super().__init__("ConnectionPool", Backend, stack, options)

    def handle_request(self, request: Any) -> Any:
        """Send one request. Errors: the library's TransportErrors."""
        with self.told():
            response = self._pool.handle_request(self._to_core(request))
        return self._from_core(response, self._stream(response.stream))

    def _stream(self, parts: Any) -> Any:
        told = self.told

        class Stream(self.library.SyncByteStream):  # type: ignore[misc,name-defined]
            def __iter__(self) -> Iterator[bytes]:
                with told():
                    yield from parts

            def close(self) -> None:
                with told():
                    parts.close()

        return Stream()

    def close(self) -> None:
        """Close every connection, and the stack if it is the transport's own. Idempotent."""
        self._pool.close()
        self._network.close()


class AwaitedTransport(Pooled):
    """For asyncio and trio."""

    def __init__(self, stack: Any, options: dict[str, Any]) -> None:
        from netkat.integrations.async_backend import AsyncBackend

        super().__init__("AsyncConnectionPool", AsyncBackend, stack, options)

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request. Errors: the library's TransportErrors."""
        with self.told():
            response = await self._pool.handle_async_request(self._to_core(request))
        return self._from_core(response, self._stream(response.stream))

    def _stream(self, parts: Any) -> Any:
        told = self.told

        class Stream(self.library.AsyncByteStream):  # type: ignore[misc,name-defined]
            async def __aiter__(self) -> AsyncIterator[bytes]:
                with told():
                    async for part in parts:
                        yield part

            async def aclose(self) -> None:
                with told():
                    await parts.aclose()

        return Stream()

    async def aclose(self) -> None:
        """Close every connection, and the stack if it is the transport's own. Idempotent."""
        await self._pool.aclose()
        self._network.close()
