"""Which tests need which extra, and what becomes of them where it is not installed.

``COSCALE_TEST_EXTRAS`` decides: ``none`` (``make test``) skips the tests of every extra, installed or not, and keeps
the others from importing any, so that one that needs an extra and does not say so fails on every machine; ``all``
(``make test-all``) makes it an error that one is missing, so that nothing goes untested unnoticed; without it, what can
run does.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

# What each extra and each group of development tools in pyproject.toml is imported as, as far as tests need it.
PACKAGES = {
    "16bit": ("imagecodecs", "tifffile"),
    "docs": ("mkdocs", "mkdocstrings"),
    "fast": ("ncnn",),
    "heic": ("pillow_heif",),
    "jpeg": ("jpeglib", "mozjpeg_lossless_optimization"),
    "hub": ("huggingface_hub",),
    "jxl": ("pylibjxl",),
    "small": ("oxipng",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "onnx": ("onnx", "onnxruntime"),
    "parquet": ("pyarrow",),
    "ray": ("ray",),
    "rates": ("bjontegaard", "ssimulacra2"),
    "report": ("jinja2", "matplotlib"),
    "serve": ("starlette", "uvicorn"),
    "sr": ("spandrel",),
    "browser": ("axe_playwright_python", "playwright"),
    "reference": ("skimage",),
}
WHICH = os.environ.get("COSCALE_TEST_EXTRAS", "installed")
if WHICH == "none":
    # All but what torch installs, and may import.
    sys.modules.update((name, None) for names in PACKAGES.values() for name in names if name != "jinja2")  # type: ignore[misc]


def absence(*extras: str) -> str:
    """Say what keeps a test that needs ``extras`` from running, or nothing."""
    if extras and WHICH == "none":
        return f"needs {' and '.join(extras)}, which `make test-all` tests"
    missing = [name for extra in extras for name in PACKAGES[extra] if find_spec(name) is None]
    if missing and WHICH == "all":
        raise ModuleNotFoundError(f"{', '.join(missing)} of {' and '.join(extras)} is not installed")
    return f"needs {' and '.join(extras)}: {', '.join(missing)} is not installed" if missing else ""


def needs(*extras: str) -> pytest.MarkDecorator:
    """Mark a test, or one of its parameters, as one that runs only where ``extras`` are installed."""
    why = absence(*extras)
    return pytest.mark.skipif(bool(why), reason=why)


def skip_without(*extras: str) -> None:
    """Leave the rest of a module (above its other imports) or of a fixture, unless ``extras`` are installed."""
    if why := absence(*extras):
        pytest.skip(why, allow_module_level=True)


class Lazy:
    """A module of an extra, where a few tests of a file use it: those are skipped at its first use, the rest run."""

    def __init__(self, extra: str, name: str) -> None:
        self._extra, self._name = extra, name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith(("_", "pytest")):  # by which pytest tells what a name in a test file is
            raise AttributeError(attribute)
        skip_without(self._extra)
        return getattr(import_module(self._name), attribute)
