"""What the page takes of npm: packages of one version whose hash is known, from a folder, the cache or the registry."""

import base64
import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from platformdirs import user_cache_path

from coscale.errors import ExportError
from coscale.files import replacing


@dataclass(frozen=True)
class Package:
    """A package of npm.

    - ``name``, ``version``, ``sha512``: as npm's registry has them.
    - ``within``: the folder of the package in which its ``files`` lie, each with its SHA-256.
    - ``option``: of the command, which takes the unpacked package.
    """

    name: str
    version: str
    sha512: str
    within: str
    option: str
    files: Mapping[str, str]


ORT = Package(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    "dist",
    "--ort",
    {
        "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
        "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
        "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
        "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    },
)
JXL = Package(
    "jxl-oxide-wasm",
    "0.12.5",
    "c/r+XsqaGDf7yS/z0LZWfOdY+sfnRoeaaH/Mlsd9KZ9wPlRnQZV35cWQUc5W21UgVpbNyV6p8aB2WTHeHV2amA==",
    "",
    "--jxl",
    {
        "jxl_oxide_wasm.js": "787464f5d947491fae50f81cad7e4452ce1d6a2631dc999d66de0cbd5750374f",
        "jxl_oxide_wasm_bg.wasm": "95aaa6af66f652a0235381424123011690c93cb35b216f7e390b54a81511530e",
    },
)
REGISTRY = "https://registry.npmjs.org"
_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")  # npm's own, for another registry
_MOST_BYTES = 40_000_000  # of an answer; the largest package has 33 million
_SECONDS = 60  # without an answer


def copy_package(package: Package, target: Path, unpacked: Path | None = None) -> None:
    """Put the files of a package into ``target``, out of where it is ``unpacked`` or of what npm's registry has.

    Raises ExportError when the folder is no such package or one of another version, the registry cannot be reached, or
    what comes is not what it was.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name, data in _unpacked(package, unpacked) if unpacked else _packed(package):
        if hashlib.sha256(data).hexdigest() != package.files[name]:
            raise ExportError(
                f"{unpacked or 'the package'} has another {name} than {package.name} {package.version}; "
                "give that version"
            )
        (target / name).write_bytes(data)


def _packed(package: Package) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(_archive(package)) as archive:
        for name in package.files:
            file = archive.extractfile(str(Path("package", package.within, name)))
            assert file is not None
            yield name, file.read()


def _unpacked(package: Package, folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in package.files:
        yield name, _in_package(package, folder, name).read_bytes()


def _in_package(package: Package, folder: Path, name: str) -> Path:
    for place in (folder, folder / package.within, folder / "package" / package.within):
        if (place / name).is_file():
            return place / name
    raise ExportError(f"{folder} has no {name}; give the unpacked npm package {package.name} {package.version}")


def _archive(package: Package) -> Path:
    """The package in the user's cache, where it is put first if need be."""
    path = user_cache_path("coscale") / f"{package.name}-{package.version}.tgz"
    if not path.is_file() or not _is_right(package, path.read_bytes()):
        data = _download(package)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return path


def _download(package: Package) -> bytes:
    registry = next(filter(None, map(os.environ.get, _VARIABLES)), REGISTRY)
    url = f"{registry.rstrip('/')}/{package.name}/-/{package.name}-{package.version}.tgz"
    try:
        if not url.startswith(("https://", "http://")):
            raise ValueError("it is no address of the web")
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 (the address was looked at)
            data = answer.read(_MOST_BYTES)
            if answer.length:  # what was announced and has not been read
                raise ValueError("what came was cut short or is too large")
    except (OSError, ValueError, HTTPException) as error:
        reason = error or type(error).__name__
        raise ExportError(
            f"{package.name} could not be fetched from {url} ({reason}); go online, or unpack that file elsewhere and "
            f"give the folder with {package.option}"
        ) from error
    if not _is_right(package, data):
        raise ExportError(
            f"{url} is not the file that it was when this coscale was made; give a copy with {package.option}"
        )
    return data


def _is_right(package: Package, data: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == package.sha512
