"""The upscaler in the browser: a folder of static files that any web server can serve, and that needs no other.

DIR/index.html, *.js, style.css     the page; png.js and bicubic.js read, write and resize as coscale does
DIR/models.json, *.onnx             the upscalers, and what the page must know of each
DIR/ort/                            onnxruntime-web, which runs them: for WebGPU, and for WebAssembly
"""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from coscale.errors import OutputError
from coscale.export import check_extra, export_onnx, metadata_of
from coscale.files import check_writable
from coscale.web.runtime import copy_runtime
from coscale.weights.load import Loaded

PAGE = Path(__file__).parent / "page"


def write_page(folder: Path, pairs: Iterable[Loaded], ort: Path | None = None, overwrite: bool = False) -> list[Path]:
    """Write the page with the upscalers of ``pairs``, and say which files there are.

    onnxruntime-web is taken from the unpacked package ``ort``, or from the registry of npm. The folder appears whole or
    not at all, and one that has files already is only changed with ``overwrite``. Raises OutputError for those, and as
    ``copy_runtime`` and ``export_onnx`` do.
    """
    check_extra()
    check_writable(folder / "index.html")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(f"{folder} is not empty; give --overwrite to replace what is there, or another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(suffix=".part", prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        made = Path(temporary)
        copy_runtime(made / "ort", ort)
        models = []
        for pair in pairs:
            file = f"{pair.name}.onnx"
            export_onnx(pair, made / file)
            models.append({"file": file} | metadata_of(pair, "float32"))
        (made / "models.json").write_text(json.dumps(models, indent=2) + "\n")
        for file in PAGE.iterdir():
            shutil.copyfile(file, made / file.name)
        return [_moved(file, folder / file.relative_to(made)) for file in sorted(made.rglob("*")) if file.is_file()]


def _moved(file: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    file.replace(to)
    return to
