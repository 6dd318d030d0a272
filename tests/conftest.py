"""What several tests need: the small photo that is committed, and the benchmark sets where a machine has them."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from coscale.image import Photo, read
from tests.extras import skip_without
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.websites import Site

STANDIN = Path(__file__).parent / "standin"
SETS = Path(os.environ.get("COSCALE_TEST_SETS", Path(__file__).parents[2] / "shared" / "data" / "test"))


@pytest.fixture(scope="session", autouse=True)
def no_weights_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What somebody has imported on this machine is no part of a test."""
    os.environ["COSCALE_WEIGHTS"] = str(tmp_path_factory.mktemp("weights"))
    os.environ["COSCALE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets spandrel be imported, here and by commands, where torchvision cannot be installed."""
    skip_without("sr")
    if find_spec("torchvision") is None:
        monkeypatch.syspath_prepend(STANDIN)
        monkeypatch.setenv("PYTHONPATH", str(STANDIN))


@pytest.fixture(scope="session")
def butterfly_path() -> Path:
    """Set5's butterfly, 256 x 256."""
    return Path(__file__).parents[1] / "examples" / "butterfly.png"


@pytest.fixture(scope="session")
def butterfly(butterfly_path: Path) -> Photo:
    return read(butterfly_path)


@pytest.fixture(scope="session")
def crop(butterfly: Photo) -> torch.Tensor:
    """48 x 48 pixels of the butterfly."""
    return butterfly.colour[..., 100:148, 60:108].contiguous()


@pytest.fixture(scope="session")
def sets() -> Path:
    """The folder of the benchmark sets; the tests that need it are skipped where it is absent."""
    if not SETS.is_dir():
        pytest.skip(f"the benchmark sets are not at {SETS}; set COSCALE_TEST_SETS")
    return SETS


@pytest.fixture(scope="session")
def exiftool() -> Callable[[Path], dict[str, Any]]:
    """What another program reads in a file, by group and name; the tests that ask it are skipped where it is absent."""
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("there is no exiftool here; install it (Debian: apt-get install libimage-exiftool-perl)")

    def ask(path: Path) -> dict[str, Any]:
        told = subprocess.run([program, "-json", "-G1", "-a", str(path)], capture_output=True, check=True)
        return json.loads(told.stdout)[0]

    return ask


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """A headless browser; the tests of pages are skipped where there is none."""
    skip_without("browser")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here; install it (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `coscale web` writes."""
    skip_without("browser", "export")
    from tests.websites import written

    return written(tmp_path_factory)


@pytest.fixture(scope="session")
def served(folder: Path) -> Iterator["Site"]:
    from tests.websites import serving

    with serving(folder) as site:
        yield site


@pytest.fixture
def site(served: "Site") -> Iterator["Site"]:
    """That folder, served; what a test changes of it is gone after the test."""
    yield served
    for changed in (served.headers, served.instead, served.workers, served.asked):
        changed.clear()
