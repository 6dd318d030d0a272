"""The folder that a bundled rescaler is uploaded to the Hugging Face hub as: what the manifest says, for people."""

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from coscale import __version__
from coscale.errors import OutputError, RescalerError
from coscale.files import replacing
from coscale.rescalers import find
from coscale.weights.hub import NEEDS
from coscale.weights.load import bundled
from coscale.weights.manifest import MANIFEST, ManifestEntry, entry_of, write_manifest
from coscale.weights.steps import beside

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LICENCE = "apache-2.0"


def write_card(name: str, folder: Path, overwrite: bool = False) -> Path:
    """Write the model card, the manifest and the weights of a bundled rescaler, and give the card's path.

    Raises RescalerError for a rescaler whose weights are not in the package and without the extra ``hub``, and
    OutputError when a file is there already and ``overwrite`` is false, or cannot be written.
    """
    named = find(name)
    entry = entry_of(name)
    text = card_of(name, named.about, entry)
    weights = bundled(named)
    sources = [weights, *([beside(weights)] if entry.steps else [])]
    card, manifest = folder / "README.md", folder / MANIFEST.name
    for path in (card, manifest, *(folder / source.name for source in sources)):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} is there already; give --overwrite to replace it, or another --out")
    for source in sources:
        with replacing(folder / source.name) as temporary:
            shutil.copyfile(source, temporary)
    with replacing(manifest) as temporary:
        write_manifest({name: entry}, temporary)
    with replacing(card) as temporary:  # the last, so that where it is, the rest is too
        temporary.write_text(text)
    return card


def card_of(name: str, about: str, entry: ManifestEntry) -> str:
    """Give a model card: YAML metadata as the hub reads them, then text. Raises RescalerError without the extra."""
    try:
        from huggingface_hub import ModelCardData
    except ImportError as error:
        raise RescalerError(f"a model card {NEEDS}") from error
    metadata = ModelCardData(
        model_name=name,
        license=LICENCE,
        library_name="coscale",
        pipeline_tag="image-to-image",
        tags=["image-rescaling", "super-resolution", f"x{entry.scale}", entry.architecture.lower()],
        datasets=list(dict.fromkeys(_slug(source.name) for source in entry.data)),
        metrics=["psnr", "ssim"],
        eval_results=[result for test_set in sorted(entry.quality) for result in _results(test_set, entry)],
    )
    trained = "\n".join(f"| {source.name} | {source.images} | {source.licence} |" for source in entry.data)
    reached = "\n".join(
        f"| {test_set} | {quality.psnr_y:.2f} | {quality.ssim_y:.4f} |"
        for test_set, quality in sorted(entry.quality.items())
    )
    when = f"{entry.date}. {entry.note}".strip()
    return f"""---
{metadata.to_yaml()}
---

# {name}

A rescaler of coscale: {about}. It makes photos {entry.scale} times smaller, as 8-bit images that anyone
can look at, and brings them back. The method is from [the paper](https://arxiv.org/abs/2211.10643).

```python
import coscale
from PIL import Image

pair = coscale.load("hf:OWNER/{name}")  # pip install 'coscale[hub]'
small = pair.downscale(Image.open("photo.jpg"))
restored = pair.upscale(small)
```

## What it reaches

Means over the images of a test set, of what the saved 8-bit file restores, without a method that improves it.

| set | PSNR of Y, dB | SSIM of Y |
| --- | ---: | ---: |
{reached}

## Training

{entry.architecture} with {entry.parameters:,} parameters, {entry.iterations:,} steps, {when}

| photos | images | licence |
| --- | ---: | --- |
{trained}

The weights are under the licence Apache-2.0, as coscale is; the photos keep their own.

## Files

`{name}.safetensors` has the SHA-256 `{entry.sha256}`, and its values have
`{entry.weights_hash}`, which LR files name. coscale checks both, by `{MANIFEST.name}`.
Written by coscale {__version__}.
"""


def _results(test_set: str, entry: ManifestEntry) -> "list[EvalResult]":
    from huggingface_hub import EvalResult

    quality = entry.quality[test_set]
    return [
        EvalResult(
            task_type="image-to-image",
            task_name=f"image rescaling x{entry.scale}",
            dataset_type=_slug(test_set),
            dataset_name=test_set,
            metric_type=kind,
            metric_value=value,
            metric_name=said,
        )
        for kind, value, said in (("psnr", quality.psnr_y, "PSNR of Y"), ("ssim", quality.ssim_y, "SSIM of Y"))
    ]


def _slug(name: str) -> str:
    """A name as the hub takes it among its data sets."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
