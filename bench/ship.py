"""python -m bench.ship [RUN...]: put the weights of training runs into the package, and renew the manifest.

A run is a folder that `coscale train` wrote. Weights, test vectors and manifest go to src/coscale/weights, the log to
results/train-NAME.jsonl. What the weights reach is read from the rows that `coscale eval` left under results/; without
a run, only that is renewed. Run it again after measuring.
"""

import argparse
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from bench.readme import ROOT, SETS, rows
from coscale.files import sha256
from coscale.image import read
from coscale.measurement import Measurement
from coscale.quantize import to_uint8
from coscale.report.tables import summarise
from coscale.rescalers import CAR, IRN, TAD, Coded, Light, SuperResolution, find
from coscale.rescalers.steps import Steps
from coscale.resize import cut
from coscale.weights.load import Loaded, bundled, load, read_checkpoint
from coscale.weights.manifest import MANIFEST, ManifestEntry, Quality, Source, read_manifest, write_manifest
from coscale.weights.steps import beside, write_steps
from coscale.weights.verify import vectors, write_vectors

RESULTS = ROOT / "results"
# Training photos by the name of their folder.
DATA = {
    "cid22": ("CID22 reference photos", "CC BY-SA 4.0"),
    "div2k_0901_1000_x4": ("DIV2K test split, x4 bicubic", "research use"),
    "div2k_0001_0100_crop864": ("DIV2K 0001 to 0100, crops of 864 x 864", "research use"),
    "budgie_crop864": ("Budgie Backgrounds, crops of 864 x 864", "CC0"),
}


def sizes(network: nn.Module) -> dict[str, Any]:
    """The arguments that a network of this size is built with."""
    if isinstance(network, IRN):
        return {"blocks": list(network.blocks)}
    if isinstance(network, SuperResolution):
        return {"channels": network.channels}
    if isinstance(network, TAD | CAR):
        upscaler = network.up if isinstance(network, TAD) else network.usn
        return {"blocks": len(upscaler.body) - 1, "width": upscaler.body[-1].out_channels}
    if isinstance(network, Steps):
        return network.sizes
    assert isinstance(network, Light | Coded)
    up, down = (
        [part.head.out_channels, len(part.blocks)] for part in (network.up, getattr(network, "down", network.up))
    )
    return {"width": up[0], "blocks": up[1]} | ({"down": down} if down != up else {})


def ship(run: Path, entries: dict[str, ManifestEntry]) -> dict[str, ManifestEntry]:
    """Copy a run's files; the entries with that of its weights."""
    record = json.loads((run / "run.json").read_text())
    name, of = record["recipe"]["name"], record["recipe"].get("steps_for")
    given = run / f"{name}.safetensors"
    tensors = read_checkpoint(given if given.exists() else run / f"{name}.pth")  # what a GPU's run leaves
    shutil.copyfile(run / "log.jsonl", RESULTS / f"train-{name}.jsonl")
    if of:
        loaded, path, network = load(of), beside(bundled(find(of))), Steps(find(of).scale)
        network.load_state_dict(tensors)
        write_steps(network, loaded.weights_hash, path)
        return entries | {of: replace(entries[of], steps=described(record, loaded, path, network))}
    path = bundled(find(name))
    shutil.copyfile(given, path) if given.exists() else save_file(tensors, path)
    beside(path).unlink(missing_ok=True)  # steps for what was there before are of no use
    loaded = load(name)
    crop = read(ROOT / "examples" / "butterfly.png").colour[:, :, 40:104, 60:156]
    write_vectors(loaded, to_uint8(cut(crop, loaded.scale)), vectors(name))
    assert isinstance(loaded.rescaler, nn.Module)
    return entries | {name: described(record, loaded, path, loaded.rescaler)}


def described(record: dict[str, Any], loaded: Loaded, path: Path, network: nn.Module) -> ManifestEntry:
    """The entry of a file of weights, of the rescaler that was loaded or of its steps."""
    return ManifestEntry(
        architecture=type(network.network if isinstance(network, SuperResolution) else network).__name__,
        sizes=sizes(network),
        scale=loaded.scale,
        parameters=sum(p.numel() for p in network.parameters()),
        recipe=record["recipe"],
        iterations=record["iterations"],
        seconds=record["seconds"],
        device=record["device"],
        data=[Source(DATA[folder][0], count, DATA[folder][1]) for folder, count in record["images"].items()],
        date=record["date"],
        sha256=sha256(path),
        weights_hash=loaded.weights_hash,
        note=record.get("note", ""),
    )


def quality(entry: ManifestEntry, rows: Iterable[dict[str, Any]]) -> dict[str, Quality]:
    """What the rows say of these very weights, on the sets that are measured whole."""
    mine = (r for r in rows if (r.get("weights_hash"), r.get("method")) == (entry.weights_hash, "none"))
    each_once = {(r["set"], r["image"]): Measurement.from_json(r) for r in mine}.values()
    return {
        m.set: Quality(round(m.psnr_y, 4), round(m.ssim_y, 6), round(m.lr_psnr_bicubic, 4))
        for m in summarise(each_once)
        if SETS.get(m.set) == m.images
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.ship", description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    entries = read_manifest() if MANIFEST.exists() else {}
    for run in parser.parse_args().runs:
        entries = ship(run, entries)
    files = sorted(path for path in RESULTS.glob("*.jsonl") if not path.name.startswith("train-"))
    measured = [row for path in files for row in rows(path.stem)]
    write_manifest({name: replace(entry, quality=quality(entry, measured)) for name, entry in entries.items()})
