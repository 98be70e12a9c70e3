"""Language-model servers that people run, each in a process of its own on loopback, and a proxy that records what is asked of one."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import processes

LONGEST_START = 120  # seconds


@dataclass(frozen=True)
class RealServer:
    """A running server: `url` ends before /v1, `model` is the name that it knows, `log` what it has written."""

    url: str
    model: str
    log: Path

    @property
    def reference(self):
        """What `--llm` takes."""
        return f"{self.url}/v1#{self.model}"

    def count(self, words):
        """How often the server has written these words."""
        return self.log.read_text(errors="replace").count(words)


@contextmanager
def llama_cpp(model, log, **options):
    """llama.cpp's server with a GGUF file; `options` are those of `llama_cpp_server.py`."""
    address = log.with_suffix(".address")
    address.unlink(missing_ok=True)
    words = [str(processes.TESTS / "llama_cpp_server.py"), str(model), str(address)]
    with _process([*words, *(f"--{name}={value}" for name, value in options.items())], log) as process:
        _until(address.is_file, process, log)
        yield RealServer(address.read_text(), Path(model).stem, log)


@contextmanager
def transformers_serve(folder, log):
    """The command `transformers serve` with a model's folder. It pins the model's name to the path."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = [str(processes.TESTS / "transformers_server.py"), "serve", str(folder), "--host=127.0.0.1", f"--port={port}"]
    with _process([*words, "--default-seed=0"], log) as process:
        _until(lambda: _is_well(url), process, log)
        yield RealServer(url, str(folder), log)


def _is_well(url):
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health").status_code == 200


@contextmanager
def _process(words, log):
    environment = os.environ | {"PYTHONPATH": str(processes.TESTS.parent), "HF_HUB_OFFLINE": "1", "HF_HOME": str(log.parent)}
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _until(ready, process, log):
    deadline = time.monotonic() + LONGEST_START
    while not (found := ready()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2_000:]}")
        time.sleep(0.05)
    return found


@dataclass
class Proxy:
    """What went through: the body of each request, and of each whose whole reply was passed on."""

    model: str
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    answered: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def reference(self):
        """What `--llm` takes."""
        return f"{self.url}/v1#{self.model}"


@contextmanager
def recording(server):
    """A proxy before a server, byte for byte. Its `url` stands for the server's."""
    proxy = Proxy(server.model)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            reply = httpx.get(server.url + self.path)
            self.send_response(reply.status_code)
            self.send_header("Content-Type", reply.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with proxy.lock:
                proxy.bodies.append(body)
            headers = {"Content-Type": "application/json", "Accept": self.headers.get("Accept", "*/*")}
            with httpx.stream("POST", server.url + self.path, content=body, headers=headers, timeout=600) as reply:
                self.send_response(reply.status_code)
                self.send_header("Content-Type", reply.headers["Content-Type"])
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for part in reply.iter_raw():
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
            with proxy.lock:
                proxy.answered.append(body)

        def log_message(self, *arguments):
            pass

        def handle(self):
            with suppress(ConnectionError):  # the client was killed
                super().handle()

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    proxy.url = f"http://127.0.0.1:{listener.server_port}"
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
