"""A web app of Python's standard library alone."""

import json
import os
import platform
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, has_ipv6


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps(
            {
                "message": f"Hello {os.environ.get('TARGET', 'World')}!",
                "python": platform.python_version(),
                "revision": os.environ.get("K_REVISION"),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = AF_INET6 if has_ipv6 else ThreadingHTTPServer.address_family

    def server_bind(self):
        if self.address_family == AF_INET6:
            # IPv4 on the same socket.
            self.socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
        super().server_bind()


if __name__ == "__main__":
    server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)
    # shutdown() waits for serve_forever() to notice, so it must not run on its thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"python listens on port {server.server_port}")
    server.serve_forever(poll_interval=0.1)
