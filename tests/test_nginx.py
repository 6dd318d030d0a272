"""The configuration of nginx in docs/serve.md, as it stands there, before a server. It runs where nginx is."""

import contextlib
import http.client
import ipaddress
import os
import shutil
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.extras import skip_without

skip_without("serve")

from coscale.serve.apart import Apart
from coscale.serve.queue import ServeLimits
from coscale.serve.visitors import Visitors
from tests.deadly import deed
from tests.patience import PATIENCE, until
from tests.served import FAST, Answer, Server, Slow, served

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
DOCS = (Path(__file__).parents[1] / "docs" / "serve.md").read_text()
pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx here; Debian: apt-get install nginx-light")


def configured() -> str:
    """What the page says: the whole server, and the location below a path."""
    server = DOCS[DOCS.index("    limit_conn_zone") : DOCS.index("\n    }\n", DOCS.index("    limit_conn_zone")) + 6]
    below = DOCS[DOCS.index("    location /coscale/") :].split("\n\n", 1)[0]
    opened = textwrap.dedent(server).rstrip().removesuffix("}")
    return f"{opened}\n{textwrap.dedent(below)}\n}}"


@contextlib.contextmanager
def before(behind: int, folder: Path) -> Iterator[Server]:
    """Start nginx before a server; without TLS, which needs a certificate."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = configured().replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    said = said.replace("127.0.0.1:8765", f"127.0.0.1:{behind}")
    assert f":{port};" in said
    lines = [line for line in said.splitlines() if "ssl_certificate" not in line]
    lines += ["access_log off;", *(f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy"))]
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers could not enter the folder
    inner = "\n".join(lines)
    (folder / "nginx.conf").write_text(f"{user}pid {folder}/pid;\nevents {{}}\nhttp {{\n{inner}\n}}\n")
    command = [str(NGINX), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(command) as process:
        try:
            until(lambda: listens(port), lambda: process.poll() is None)
            yield Server(port)
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def ask_from(address: str, nginx: Server, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """Ask as one visitor of many: all of 127.0.0.0/8 is this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=PATIENCE, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def test_nginx_as_documented(tmp_path: Path, slow: Slow) -> None:
    visitors = Visitors([ipaddress.ip_network("127.0.0.1")])
    with contextlib.ExitStack() as behind:
        reader = behind.enter_context(Apart(deed))
        server, _ = behind.enter_context(served(ServeLimits(each=1), slow, reader, visitors))
        with before(server.port, tmp_path) as nginx:
            for top in ("", "/coscale"):
                assert nginx.ask("GET", f"{top}/").body == server.ask("GET", "/").body
                for path in ("/metrics", "/healthz", "//metrics", "/%6detrics", "/metrics%0A", "/metrics/"):
                    assert nginx.ask("GET", top + path).status in (403, 404), top + path

            origin = {"Host": "example.test", "Origin": "http://example.test"}  # as a browser says both
            job = ask_from("127.0.0.2", nginx, "POST", FAST, b"fine", **origin).told["id"]
            for told in ("198.51.100.1", "127.0.0.1", "127.0.0.3, 127.0.0.1"):  # what a visitor says of himself
                assert ask_from("127.0.0.2", nginx, "POST", FAST, b"fine", X_Forwarded_For=told).status == 429
            assert ask_from("127.0.0.3", nginx, "POST", f"/coscale{FAST}", b"fine").status == 201

            connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("GET", f"/api/jobs/{job}/events")
                assert connection.getresponse().readline().startswith(b"data: ")  # while the job goes on
            slow.enough.set()
            until(lambda: nginx.ask("GET", f"/api/jobs/{job}").told["state"] == "finished")
            assert nginx.ask("GET", f"/coscale/api/jobs/{job}/original.png").body == b"kept"
            assert nginx.ask("HEAD", f"/api/jobs/{job}/original.png").headers["content-length"] == "4"

            for size, error in ((32_000_001, b"The file is larger than 32 MB"), (34_700_000, b"nginx")):
                answer = nginx.ask("POST", FAST, bytes(size))
                assert (answer.status, error in answer.body) == (413, True)
            behind.close()
            assert nginx.ask("GET", "/").status == 502


@pytest.fixture
def slow() -> Slow:
    return Slow.new()
