"""The only way out to a hosted endpoint: every connection is checked after its name was looked up, and every call has one deadline.

The address that was checked is the address that is connected to, so a name that points elsewhere a moment later changes nothing.
Redirects are not followed, no proxy of the environment is used, and an answer has a longest length.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpcore2
import httpx2

from experiments.endpoints import Network, address_check

CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 4 * 2**20
# Every answer is read as JSON in UTF-8. A coding that it names itself may be none of text, or unpack into more than there is memory.
NOT_BELIEVED = (b"content-encoding", b"content-type")


class AnswerTooLong(httpx2.TransportError):
    """The endpoint sent more than any answer can be."""


class Deadline:
    """When the call of the current thread has to be over."""

    def __init__(self) -> None:
        self._here = threading.local()

    def start(self, seconds: float) -> None:
        self._here.at = time.monotonic() + seconds

    def left(self, timeout: float | None = None) -> float:
        """Seconds that a step may still take.

        Raises:
            httpcore2.ReadTimeout: none.
        """
        left = float(getattr(self._here, "at", float("inf"))) - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("The call took too long.")
        return min(left, timeout) if timeout is not None else left


class GuardedBackend(httpcore2.NetworkBackend):
    """Opens connections to allowed addresses only.

    Args:
        private: networks that the operator allows although they are not public.
        is_encrypted: whether TLS follows; without it only those networks are allowed.
    """

    def __init__(self, private: Sequence[Network], *, is_encrypted: bool, deadline: Deadline) -> None:
        self._private, self._is_encrypted, self._deadline = private, is_encrypted, deadline
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to the host.

        Raises:
            ForbiddenAddress: one of its addresses may not be connected to; then none is.
        """
        fault: Exception = httpcore2.ConnectError(f"{host} has no address.")
        for address in self._addresses(host, port):
            try:
                stream = self._inner.connect_tcp(address, port, self._deadline.left(CONNECT_SECONDS), local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                fault = error
            else:
                return DeadlineStream(stream, self._deadline)
        raise fault

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> httpcore2.NetworkStream:
        raise httpcore2.UnsupportedProtocol("Endpoints are asked over the network only.")

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # a name that cannot be one is not known either
            raise httpcore2.ConnectError(f"The name {host} is not known.") from error
        names = dict.fromkeys(str(place[0]) for *_, place in found)
        return [address_check(name, private=self._private, is_encrypted=self._is_encrypted) for name in names]


class DeadlineStream(httpcore2.NetworkStream):
    """A connection whose every step ends by the deadline, however slowly the other side drips."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        stream = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(CONNECT_SECONDS))
        return DeadlineStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class GuardedTransport(httpx2.BaseTransport):
    """Sends requests of one client over guarded connections.

    Args:
        seconds: how long one call may take.
        connections: calls under way at once.
    """

    def __init__(self, private: Sequence[Network], *, is_encrypted: bool, seconds: float, connections: int) -> None:
        self._deadline, self._seconds = Deadline(), seconds
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl.create_default_context() if is_encrypted else None,
            max_connections=connections,
            network_backend=GuardedBackend(private, is_encrypted=is_encrypted, deadline=self._deadline),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it and read the whole answer, within the deadline."""
        self._deadline.start(self._seconds)
        url = request.url
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with self._pool.stream(request.method, target, headers=request.headers.raw, content=request.read()) as answer:
                body = b"".join(_limited(answer.iter_stream()))
                if answer.status >= 500:
                    # Servers that stumbled often close the connection a moment later, and the next request would be lost on it.
                    answer.extensions["network_stream"].close()
                headers = [(name, value) for name, value in answer.headers if name.lower() not in NOT_BELIEVED]
                return httpx2.Response(answer.status, headers=headers, content=body, request=request)
        except httpcore2.ConnectTimeout as error:
            raise httpx2.ConnectTimeout(str(error)) from error
        except httpcore2.TimeoutException as error:
            raise httpx2.ReadTimeout(str(error)) from error
        except httpcore2.ConnectError as error:
            raise httpx2.ConnectError(str(error)) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise httpx2.ReadError(str(error)) from error

    def close(self) -> None:
        self._pool.close()


def _limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > MAX_ANSWER_BYTES:
            raise AnswerTooLong("The answer is too long.")
        yield chunk
