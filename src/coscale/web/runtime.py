"""onnxruntime-web, of one version whose hash is known: from a folder, from the user's cache, or from npm's registry."""

import base64
import hashlib
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path

from platformdirs import user_cache_path

from coscale.errors import ExportError
from coscale.files import replacing

VERSION = "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # as npm has it
REGISTRY = "https://registry.npmjs.org"
_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")  # npm's own, for another registry
FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
_SECONDS = 60  # without an answer


def copy_runtime(target: Path, unpacked: Path | None = None) -> None:
    """Put ``FILES`` into ``target``, out of the unpacked package or out of the one that npm's registry has.

    Raises ExportError when the folder is no such package, the registry cannot be reached, or what comes is not what it
    was.
    """
    target.mkdir(parents=True, exist_ok=True)
    if unpacked:
        for name in FILES:
            shutil.copyfile(_in_package(unpacked, name), target / name)
        return
    with tarfile.open(_package()) as archive:
        for name in FILES:
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None
            with file, (target / name).open("wb") as copy:
                shutil.copyfileobj(file, copy)


def _in_package(folder: Path, name: str) -> Path:
    for place in (folder, folder / "dist", folder / "package" / "dist"):
        if (place / name).is_file():
            return place / name
    raise ExportError(f"{folder} has no {name}; give the unpacked npm package onnxruntime-web {VERSION}")


def _package() -> Path:
    """The package in the user's cache, where it is put first if need be."""
    path = user_cache_path("coscale") / f"onnxruntime-web-{VERSION}.tgz"
    if not path.is_file() or not _is_right(path.read_bytes()):
        data = _download()
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return path


def _download() -> bytes:
    registry = next(filter(None, map(os.environ.get, _VARIABLES)), REGISTRY)
    url = f"{registry.rstrip('/')}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    try:
        if not url.startswith(("https://", "http://")):
            raise ValueError("it is no address of the web")
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 (the address was looked at)
            data = answer.read()
    except (OSError, ValueError) as error:
        raise ExportError(
            f"onnxruntime-web could not be fetched from {url} ({error}); go online, or unpack that file elsewhere and "
            "give the folder with --ort"
        ) from error
    if not _is_right(data):
        raise ExportError(f"{url} is not the file that it was when this coscale was made; give a copy with --ort")
    return data


def _is_right(data: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == _SHA512
