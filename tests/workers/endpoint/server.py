"""Small HTTP servers that answer as a test scripts them, well or badly. Standard library only; nothing leaves the machine."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def completion(text: str | None = "refund", *, top: list[list[tuple[str, float]]] | None = None, usage: bool = True) -> dict[str, Any]:
    """The body of a good chat answer."""
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if top is not None:
        tokens = [[{"token": word, "logprob": value} for word, value in token] for token in top]
        choice["logprobs"] = {"content": [{**token[0], "top_logprobs": token} for token in tokens]}
    body: dict[str, Any] = {"model": "tiny-1", "choices": [choice]}
    return body | ({"usage": {"prompt_tokens": 10, "completion_tokens": 2}} if usage else {})


@dataclass
class Answer:
    """One scripted answer. drip: seconds between two bytes; silent: seconds before anything is sent."""

    body: Any = field(default_factory=completion)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0
    silent: float = 0.0

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Server:
    """A server that hands each request to `script`, which gives the answer. It remembers what was asked."""

    def __init__(self) -> None:
        self.script: Callable[[dict[str, Any]], Answer] = lambda asked: Answer()
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.paths: list[str] = []
        self.connections: set[int] = set()
        self.under_way = self.most_under_way = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Nothing is printed."""

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.asked.append(asked)
                    server.keys.append(self.headers.get("Authorization", ""))
                    server.paths.append(self.path)
                    server.connections.add(self.client_address[1])
                    server.under_way += 1
                    server.most_under_way = max(server.most_under_way, server.under_way)
                try:
                    self.answer(server.script(asked))
                except OSError:
                    self.close_connection = True
                finally:
                    with server._lock:
                        server.under_way -= 1

            def answer(self, answer: Answer) -> None:
                if answer.silent and server.closing.wait(answer.silent):
                    return
                content = answer.content()
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for byte in content if answer.drip else ():
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if server.closing.wait(answer.drip):
                        return
                self.wfile.write(b"" if answer.drip else content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def always(self, answer: Answer) -> None:
        self.script = lambda asked: answer

    def encrypt(self, certificate: Path) -> None:
        """Speak https from now on, by a certificate with its key in one file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread does."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "It did not happen."
        time.sleep(0.01)
