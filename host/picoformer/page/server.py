"""A web server for one site, for this computer alone."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..errors import Error

HOST = "127.0.0.1"
NAMES = HOST, "localhost"  # of this computer; another would be a page's that plays at being it
PORT = 8022
TRIED = 20  # ports, where nobody asks for one
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".py": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
}
BYTES = "application/octet-stream"

Site = Mapping[str, bytes | Path]  # files by their place below the address


class Server(ThreadingHTTPServer):
    """Serves the files of a site, and nothing else."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # where a second server would share the port

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers end connections as they like."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(site: Site, port: int | None = None) -> Server:
    """A server on a port, by default the first one from PORT on that is free. Raises Error."""
    ports = range(PORT, PORT + TRIED) if port is None else [port]
    if port is not None and not 0 <= port < 1 << 16:
        raise Error(f"--port-number is {port}, expected 0 to 65535 (0: any that is free)")
    for one in ports:
        try:
            return Server(site, one)
        except OSError as e:
            if e.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise Error(f"cannot serve the page on port {one}: {e.strerror}") from e
            taken = e.errno == errno.EADDRINUSE
    if port is None:
        last = PORT + TRIED - 1
        raise Error(f"ports {PORT} to {last} are in use: name another with --port-number")
    what = "is in use by another program" if taken else "is not for users"
    raise Error(f"port {port} {what}: name another with --port-number, or none")


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body would wait for what the head is answered with
    timeout = 60

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, whole: bool) -> None:
        place = unquote(self.path.partition("?")[0]).removeprefix("/") or "index.html"
        host = (self.headers.get("Host") or HOST).partition(":")[0].lower()
        found = self.server.site.get(place) if host in NAMES else None
        try:
            data = found.read_bytes() if isinstance(found, Path) else found
        except OSError:
            data = None
        status = HTTPStatus.OK
        kind = TYPES.get(Path(place).suffix, BYTES)
        if data is None:
            status, kind = HTTPStatus.NOT_FOUND, TYPES[".txt"]
            data = b"there is no such file on this page\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if whole:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing: the terminal belongs to the command."""
