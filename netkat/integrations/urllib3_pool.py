"""urllib3's connections with netkat's underneath: a real socket, so that its own TLS does."""

from __future__ import annotations

import socket
import sys
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from netkat.errors import NameNotFound, NetkatError
from netkat.integrations.network import Network


def pool_classes(network: Network) -> dict[str, Any]:
    """For PoolManager.pool_classes_by_scheme."""

    def connect(connection: HTTPConnection) -> socket.socket:
        """What HTTPConnection._new_conn does. Errors: urllib3's, netkat's behind them."""
        local = connection.source_address[0] if connection.source_address else None
        timeout = connection.timeout
        seconds = timeout if isinstance(timeout, int | float) else None
        try:
            conn = network.connect(connection._dns_host, connection.port, seconds, local)
            for option in connection.socket_options or ():
                conn.setsockopt(*option)
            found = conn.as_socket()
        except NameNotFound as error:
            raise NameResolutionError(connection.host, connection, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, str(error)) from error
        except (OSError, NetkatError) as error:
            raise NewConnectionError(connection, str(error)) from error
        sys.audit("http.client.connect", connection, connection.host, connection.port)
        return found

    # These names stand in urllib3's messages.
    class NetkatConnection(HTTPConnection):
        _new_conn = connect

    class NetkatTLSConnection(HTTPSConnection):
        _new_conn = connect

    class NetkatPool(HTTPConnectionPool):
        ConnectionCls = NetkatConnection

    class NetkatTLSPool(HTTPSConnectionPool):
        ConnectionCls = NetkatTLSConnection

    return {"http": NetkatPool, "https": NetkatTLSPool}
