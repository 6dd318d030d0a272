"""The upscaler in the browser: a folder of static files that any web server can serve, and that needs no other.

DIR/index.html, app.js, style.css   the page
DIR/coscale/                        the npm package, which decodes: png.js, webp.js and bicubic.js do as coscale does
DIR/models.json, *.onnx             the upscalers, and what the page must know of each
DIR/ort/                            onnxruntime-web, which runs them: for WebGPU, and for WebAssembly
DIR/jxl/                            jxl-oxide, which reads JPEG XL
"""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

from coscale.errors import CoscaleWarning, ExportError, OutputError
from coscale.export import check_extra, export_onnx, metadata_of
from coscale.files import check_writable, read_regular
from coscale.web.runtime import JXL, ORT, copy_package
from coscale.weights.load import Loaded

PAGE = Path(__file__).parent / "page"
NPM = Path(__file__).parent / "package"  # what npm publishes
_MODELS = "models.json"


def write_page(
    folder: Path,
    pairs: Iterable[Loaded],
    ort: Path | None = None,
    overwrite: bool = False,
    jxl: Path | None = None,
) -> list[Path]:
    """Write the page with the upscalers of ``pairs``, and say which files there are.

    onnxruntime-web and jxl-oxide-wasm are taken from the unpacked packages ``ort`` and ``jxl``, or from the registry of
    npm; where that does not have the latter, the page does not read JPEG XL, which a warning says. A new folder appears
    whole or not at all. One that is there is changed once all files are made, the page itself last; where it has files,
    only with ``overwrite``, and upscalers that its page had before and has no more are removed. Raises OutputError, and
    as ``copy_package`` and ``export_onnx`` do.
    """
    check_extra()
    check_writable(folder / "index.html")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(f"{folder} is not empty; give --overwrite to replace what is there, or another folder")
    target = Path(os.path.realpath(folder))
    there = target.is_dir()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Within a folder that is there, as it may be another disk than its parent, or the parent not writable.
        with tempfile.TemporaryDirectory(suffix=".part", prefix=".", dir=target if there else target.parent) as within:
            made = Path(within) / "page"  # with the rights of any new folder, which a temporary one has not
            made.mkdir()
            copy_package(ORT, made / "ort", ort)
            try:
                copy_package(JXL, made / "jxl", jxl)
            except ExportError as error:
                if jxl:
                    raise
                (made / "jxl").rmdir()
                warnings.warn(f"the page will not read JPEG XL: {error}", CoscaleWarning, stacklevel=2)
            _write_models(made, pairs)
            for file in PAGE.iterdir():
                shutil.copyfile(file, made / file.name)
            (made / "coscale").mkdir()
            for file in NPM.glob("*.js"):
                shutil.copyfile(file, made / "coscale" / file.name)
            names = [file.relative_to(made) for file in sorted(made.rglob("*")) if file.is_file()]
            if there:
                _replace(made, target, names)
            else:
                made.rename(target)
    except OSError as error:
        raise OutputError(f"{folder} was not written: {error.strerror or error}; give another folder") from error
    return [folder / name for name in names]


def _write_models(folder: Path, pairs: Iterable[Loaded]) -> None:
    models = []
    for pair in pairs:
        file = f"{pair.name}.onnx"
        export_onnx(pair, folder / file)
        models.append({"file": file} | metadata_of(pair, "float32"))
    (folder / _MODELS).write_text(json.dumps(models, indent=2) + "\n")


def _replace(made: Path, target: Path, names: list[Path]) -> None:
    """Move the files of ``made`` to ``target``: what the page needs first, then what names it."""
    before = _models_of(target)
    last = [Path(_MODELS), Path("index.html")]
    for name in [name for name in names if name not in last] + last:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(target / name)
    for name in before - _models_of(target):
        (target / name).unlink(missing_ok=True)


def _models_of(folder: Path) -> set[str]:
    """The upscalers that the page in a folder names; none where there is no page, or one that cannot be read."""
    try:
        files = {model["file"] for model in json.loads(read_regular(folder / _MODELS))}
    except (OSError, ValueError, TypeError, KeyError):
        return set()
    return {file for file in files if isinstance(file, str) and Path(file).name == file and file.endswith(".onnx")}
