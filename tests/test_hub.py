"""Rescalers from the Hugging Face hub, by a local server that answers as the hub does, and the cards made for it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

import coscale
from coscale.cli import cli
from coscale.errors import OutputError, RescalerError
from coscale.files import sha256
from coscale.rescalers import RESCALERS, find
from coscale.weights.card import write_card
from coscale.weights.load import bundled
from coscale.weights.manifest import read_manifest, write_manifest
from tests.extras import Lazy, needs, skip_without

hub = Lazy("hub", "huggingface_hub")
yaml = Lazy("hub", "yaml")
NAME = "srcnn-x2"  # the smallest
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A server of repositories, each a folder ``owner/name``, at one commit; and what was asked of it."""

    folder: Path
    address: str
    asked: list[str]

    def add(self, repository: str, name: str = NAME) -> Path:
        """Upload what ``coscale card`` makes."""
        write_card(name, self.folder / repository)
        return self.folder / repository


def handler_of(folder: Path, asked: list[str]) -> type[BaseHTTPRequestHandler]:
    """What answers for the file of a repository at a revision: of it (HEAD), and with it (GET)."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep quiet."""

        def do_HEAD(self) -> None:
            self._answer(False)

        def do_GET(self) -> None:
            self._answer(True)

        def _answer(self, whole: bool) -> None:
            where, _, what = self.path.split("?")[0].strip("/").partition("/resolve/")
            if not what:  # what the client asks of the hub beside files
                return self._refuse(404, "")
            owner, _, name = where.partition("/")
            revision, _, file = what.partition("/")
            asked.append(f"{self.command} {owner}/{name} {file}")
            repository = folder / owner / name
            if owner == "broken":
                return self._refuse(500, "")
            if owner == "gated":
                return self._refuse(403, "GatedRepo")
            if not name or not repository.is_dir():
                return self._refuse(401, "RepoNotFound")
            if revision not in ("main", COMMIT):
                return self._refuse(404, "RevisionNotFound")
            if not (repository / file).is_file():
                return self._refuse(404, "EntryNotFound")
            content = (repository / file).read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{sha256(repository / file)}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if whole:
                self.wfile.write(content)
            return None

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            if code != "RepoNotFound":
                self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def point_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an address the hub's, as HF_ENDPOINT would have, and let nobody wait before trying once more."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    clock = SimpleNamespace(sleep=lambda _: None, time=time.time)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    skip_without("hub")
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(tmp_path / "hub", asked))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    point_to(address, monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield Hub(tmp_path / "hub", address, asked)
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_made_by_card_is_fetched(served: Hub) -> None:
    served.add("someone/pair")
    pair, own = coscale.load("hf:someone/pair"), coscale.load(NAME)
    assert (pair.name, pair.weights_hash, pair.scale) == (NAME, own.weights_hash, 2)
    assert f"GET someone/pair {NAME}.safetensors" in served.asked
    served.asked.clear()
    coscale.load(f"hf:someone/pair@{COMMIT}")
    assert served.asked == [], "a commit that is here does not change"


def test_learned_steps_come_along(served: Hub) -> None:
    served.add("someone/light", "light-x2")
    steps, own = coscale.load("hf:someone/light").steps, coscale.load("light-x2").steps
    assert steps
    assert own
    assert steps.identity == own.identity


def test_without_connection_what_was_fetched_is_taken(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    served.add("someone/pair")
    coscale.load("hf:someone/pair")
    point_to("http://127.0.0.1:9", monkeypatch)
    assert coscale.load("hf:someone/pair").name == NAME
    with pytest.raises(RescalerError, match="not here yet, and the hub cannot be reached"):
        coscale.load("hf:someone/other")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("hf:nobody/nothing", "the hub has no such repository"),
        ("hf:nothing-at-all", "no such repository"),
        ("hf:gated/pair", "only for those whom its owner lets in"),
        ("hf:someone/pair@older", "no revision older"),
        ("hf:broken/pair", "cannot be reached|could not be fetched"),
        ("hf:", "no name of a repository; give hf:owner/name"),
        ("hf:someone/../pair", "no name of a repository"),
        ("hf:a/b/c", "no name of a repository"),
        ("hf:someone/empty", "the repository has no manifest.json"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_one_line(served: Hub, source: str, said: str) -> None:
    served.add("someone/pair")
    (served.folder / "someone" / "empty").mkdir()
    with pytest.raises(RescalerError, match=said) as told:
        coscale.load(source)
    assert "\n" not in str(told.value)


def test_hashes_that_differ(served: Hub) -> None:
    """That of the file; that of the values, where somebody wrote the file's anew; and that of the steps."""
    for number, said in enumerate(
        (r"x2.steps.safetensors is not the file .*SHA-256", r"x2.safetensors is not the file")
    ):
        folder = served.add(f"someone/light{number}", "light-x2")
        changed = folder / ("light-x2.safetensors" if number else "light-x2.steps.safetensors")
        save_file({key: value * 1.02 for key, value in load_file(changed).items()}, changed)
        with pytest.raises(RescalerError, match=said):
            coscale.load(f"hf:someone/light{number}")
    folder = served.add("someone/pair")
    weights = folder / f"{NAME}.safetensors"
    save_file({key: value * 1.02 for key, value in load_file(weights).items()}, weights)
    entry = replace(read_manifest()[NAME], sha256=sha256(weights))
    write_manifest({NAME: entry}, folder / "manifest.json")
    with pytest.raises(RescalerError, match="other values than its manifest"):
        coscale.load("hf:someone/pair")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"a": 1}', "both", "../escape", "numbers"])
def test_manifests_that_are_none(served: Hub, text: str) -> None:
    manifest = served.add("someone/pair") / "manifest.json"
    told = json.loads(manifest.read_text())
    made = {"both": told | {"light-x2": told[NAME]}, "../escape": {"../escape": told[NAME]}}
    made["numbers"] = {NAME: told[NAME] | {"sha256": 3}}
    manifest.write_text(json.dumps(made[text]) if text in made else text)
    said = {"../escape": "there is no rescaler", "numbers": "SHA-256"}.get(text, "not that of one rescaler")
    with pytest.raises(RescalerError, match=said):
        coscale.load("hf:someone/pair")


def test_weights_beside_a_repository_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RescalerError, match="brings its weights; leave out --weights"):
        coscale.load("hf:someone/pair", tmp_path / "other.safetensors")


def test_the_command_by_the_hub_s_own_setting(served: Hub, butterfly_path: Path, tmp_path: Path) -> None:
    """There and back, where LR files say no more than the rescaler's name, and an error in one line."""
    served.add("someone/pair")
    environment = os.environ | {"HF_ENDPOINT": served.address, "HF_HOME": str(tmp_path / "home")}
    lr, back = tmp_path / "lr.png", tmp_path / "back.png"
    lines = [
        ["downscale", str(butterfly_path), "-o", str(lr), "--method", "none", "--rescaler", "hf:someone/pair"],
        ["upscale", str(lr), "-o", str(back), "--rescaler", "hf:someone/pair"],
        ["downscale", str(butterfly_path), "-o", str(tmp_path / "no.png"), "--rescaler", "hf:someone/none"],
    ]
    code = (
        "import sys; from coscale.cli import main\n"
        f"for line in {lines}:\n"
        "    sys.argv = ['coscale', *line]\n"
        "    try: main()\n"
        "    except SystemExit as end: print('ended', end.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "ended 1"
    assert done.stdout.count("ended") == 1
    assert coscale.read_lr(lr)[1].rescaler == NAME  # type: ignore[union-attr]
    assert coscale.read(back).size == coscale.read(butterfly_path).size
    assert done.stderr.splitlines()[-1].startswith("coscale: hf:someone/none: the hub has no such repository")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "no.png").exists()


@needs("hub")
@pytest.mark.parametrize("name", [named.name for named in RESCALERS if named.checkpoint == "bundled"])
def test_card(tmp_path: Path, name: str) -> None:
    """Its metadata are what the manifest says, and what the hub asks for; the files are those of the package."""
    cli.main(["card", name, "-o", str(tmp_path / "made")], standalone_mode=False)
    entry = read_manifest()[name]
    files = {path.name for path in (tmp_path / "made").iterdir()}
    steps = {f"{name}.steps.safetensors"} if entry.steps else set()
    assert files == {"README.md", "manifest.json", f"{name}.safetensors"} | steps
    assert sha256(tmp_path / "made" / f"{name}.safetensors") == sha256(bundled(find(name)))
    assert read_manifest(tmp_path / "made" / "manifest.json") == {name: entry}
    text = (tmp_path / "made" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["license"] == "apache-2.0"
    assert {"image-rescaling", f"x{entry.scale}"} <= set(told["tags"])
    assert len(told["datasets"]) == len({source.name for source in entry.data})
    assert told["metrics"] == ["psnr", "ssim"]
    (index,) = told["model-index"]
    values = {
        (result["dataset"]["name"], metric["type"]): metric["value"]
        for result in index["results"]
        for metric in result["metrics"]
    }
    for test_set, quality in entry.quality.items():
        assert values[test_set, "psnr"] == quality.psnr_y
        assert values[test_set, "ssim"] == quality.ssim_y
        assert f"| {test_set} | {quality.psnr_y:.2f} |" in body
    assert all(f"| {source.name} | {source.images} | {source.licence} |" in body for source in entry.data)
    assert entry.sha256 in body
    assert len(hub.ModelCardData(**told).to_yaml()) > 100
    assert all(line == line.rstrip() for line in text.splitlines())


@needs("hub")
def test_card_overwrites_only_when_told(tmp_path: Path) -> None:
    write_card(NAME, tmp_path)
    (tmp_path / "README.md").write_text("by hand")
    with pytest.raises(OutputError, match="is there already; give --overwrite"):
        write_card(NAME, tmp_path)
    assert (tmp_path / "README.md").read_text() == "by hand"
    write_card(NAME, tmp_path, overwrite=True)
    assert NAME in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", ["irn-x2", "bicubic-x2", "nothing"])
def test_card_of_what_has_no_weights_here(tmp_path: Path, name: str) -> None:
    with pytest.raises(RescalerError, match=r"no weights in the package|there is no rescaler"):
        write_card(name, tmp_path / "made")
    assert not (tmp_path / "made").exists()
