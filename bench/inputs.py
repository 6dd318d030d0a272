"""python -m bench.inputs FOLDER: the command on a folder of sample photos, against what is right for each.

FOLDER has the samples, checkpoints and the script make_folders.sh, and in its README.md a table: samples, and what is
right. A line is printed for each row: whether it is right, the samples, what is right, and what was seen where it is
not. Exits 1 when a row is not right, or is one that nothing here looks at.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from coscale.guard import LIMIT
from coscale.image import Photo, read, write
from coscale.lrfile import read_lr
from coscale.quantize import quantize
from coscale.resize import downscale, pad, upscale

PLAIN = ("--rescaler", "light-x2", "--method", "none")
REFUSED = {"bad_crc.png", "html_named.jpg", "truncated.jpg", "truncated.png", "truncated_progressive.jpg"}
NOT_SAMPLES = {".md", ".sh"}


@dataclass(frozen=True)
class Seen:
    """What the command made of a sample: its LR file, the photo restored from that, and all that it said."""

    name: str
    lr: Path | None
    restored: Path | None
    said: tuple[str, ...]

    @property
    def error(self) -> str:
        return "" if self.lr else " ".join(self.said) or "no result, and not a word"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "coscale", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {Path(str(row["input"])).name: row for row in rows}


class Samples:
    """The samples, all of them downscaled and restored."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work, self.files = folder, work, work / "files"
        self.files.mkdir()
        for path in folder.iterdir():
            if path.is_file() and path.suffix not in NOT_SAMPLES:
                shutil.copy(path, self.files)
        lrs, backs = work / "lr", work / "restored"
        done = command("downscale", self.files, "-o", lrs, *PLAIN, "--json")
        self.rows = rows_of(done)
        back = command("upscale", lrs, "-o", backs, "--json")
        restored = rows_of(back)
        self.seen: dict[str, Seen] = {}
        for path in sorted(self.files.iterdir()):
            row = self.rows.get(path.name, {})
            lr = Path(str(row["output"])) if "output" in row and Path(str(row["output"])).exists() else None
            after = restored.get(lr.name, {}) if lr else {}
            photo = Path(str(after["output"])) if "output" in after and Path(str(after["output"])).exists() else None
            said = tuple(line for line in done.stderr.splitlines() if f"{path}:" in line or f"{path} " in line)
            self.seen[path.name] = Seen(path.name, lr, photo, said)

    def wrong_png(self, names: Iterable[str]) -> list[str]:
        """What is wrong with the PNGs that were written of samples."""
        found = []
        for name in names:
            seen = self.seen[name]
            for path in (seen.lr, seen.restored):
                fault = fault_of_png(path.read_bytes()) if path else seen.error or "not restored"
                if fault:
                    found.append(f"{name}: {fault}")
        return found


def fault_of_png(data: bytes) -> str:
    """What is wrong with a PNG that was just written, empty where nothing is."""
    at, names, grey = 8, list[str](), data[25] in (0, 4)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if zlib.crc32(name + body) != int.from_bytes(data[at + 8 + size : at + 12 + size]):
            return f"{name!r} has a wrong checksum"
        if name == b"iCCP" and zlib.decompress(body.split(b"\0", 1)[1][1:])[16:20] != (b"GRAY" if grey else b"RGB "):
            return "its profile is for other channels"
        if name in (b"iCCP", b"cICP", b"cHRM", b"gAMA") and ("IDAT" in names or name.decode() in names):
            return f"{name!r} is out of its place"
        names.append(name.decode())
        at += 12 + size
    return "" if names[-1] == "IEND" else "it has no end"


def colour_chunks(path: Path) -> set[str]:
    data = path.read_bytes()
    return {name for name in ("cICP", "cHRM", "gAMA", "iCCP") if name.encode() in data[: data.index(b"IDAT")]}


# One function a row: it gives what is not right. Rows are told by their first sample.


def mean_colours(samples: Samples, names: list[str]) -> list[str]:
    found = []
    for name in names:
        lr, back = samples.work / f"{name}.lr.png", samples.work / f"{name}.back.png"
        done = command("downscale", samples.files / name, "-o", lr, "--effort", "fast")
        done = done if done.returncode else command("upscale", lr, "-o", back)
        if done.returncode:
            found.append(f"{name}: {done.stderr.strip()}")
            continue
        original, restored = read(samples.files / name).colour, read(back).colour
        plain = quantize(upscale(quantize(downscale(pad(original, 2), 2)), 2))[
            ..., : original.shape[2], : original.shape[3]
        ]
        away, by_bicubic = (
            255 * (F.avg_pool2d(image, 16, 8) - F.avg_pool2d(original, 16, 8)).abs() for image in (restored, plain)
        )
        if (worse := (away - by_bicubic).max()) > LIMIT + 0.1:
            found.append(f"{name}: the mean of a neighbourhood is {worse:.1f} grey levels worse than by bicubic")
        spread = (original.amax(1) - original.amin(1)).max() * 255
        if spread == 0 and (away := (restored.amax(1) - restored.amin(1)).max() * 255) > 1:
            found.append(f"{name}: grey comes back with channels {away:.0f} grey levels apart")
    return found


def grey_as_colour(samples: Samples, names: list[str]) -> list[str]:
    values = []
    for name in names:
        lr = samples.work / f"{name}.pair.png"
        done = command("downscale", samples.files / name, "-o", lr, "--effort", "fast", "--measure", "--json")
        if done.returncode:
            return [f"{name}: {done.stderr.strip()}"]
        values.append(float(str(rows_of(done)[name]["psnr_y"])))
    return [f"{values[0]:.2f} and {values[1]:.2f} dB"] if abs(values[0] - values[1]) > 0.5 else []


def hidden_colours(samples: Samples, names: list[str]) -> list[str]:
    found = []
    for name in names:
        photo = read(samples.files / name)
        assert photo.alpha is not None
        cyan = torch.tensor([0.0, 1.0, 1.0])[:, None, None]
        other, results = samples.work / name, []
        write(other, Photo(torch.where(photo.alpha > 0, photo.colour, cyan), photo.alpha))
        for source in (samples.files / name, other):
            lr = samples.work / f"{len(results)}.hidden.png"
            done = command("downscale", source, "-o", lr, "--effort", "fast", "--measure", "--json")
            if done.returncode:
                return [done.stderr.strip()]
            results.append((read(lr).colour, rows_of(done)[name]["psnr_y"]))
        if not torch.equal(results[0][0], results[1][0]) or results[0][1] != results[1][1]:
            found.append(f"{name}: what its hidden colours are is seen in the LR, or in its figures")
    return found


def read_with_all(samples: Samples, names: list[str]) -> list[str]:
    found = samples.wrong_png(names)
    for name in names:
        lr = samples.seen[name].lr
        if lr and read(samples.files / name).icc != read(lr).icc:
            found.append(f"{name}: its profile is another")
    return found


def fitting_profiles(samples: Samples, names: list[str]) -> list[str]:
    return samples.wrong_png(names) + [f"{name}: no warning" for name in names if not samples.seen[name].said]


def colours_without_icc(samples: Samples, names: list[str]) -> list[str]:
    found = samples.wrong_png(names)
    for name in names:
        seen = samples.seen[name]
        for path in filter(None, (seen.lr, seen.restored)):
            if not seen.said and not colour_chunks(path):
                found.append(f"{name}: {path.name} does not say what its colours mean, and no warning does")
    return found


def metadata(samples: Samples, names: list[str]) -> list[str]:
    found = []
    for name in names:
        seen = samples.seen[name]
        if seen.restored is None:
            found.append(f"{name}: not restored")
            continue
        with Image.open(seen.restored) as image:
            exif, info = image.getexif(), image.info
            have = {
                "EXIF": bool(dict(exif)),
                "GPS": bool(exif.get_ifd(0x8825)),
                "XMP": any("xmp" in str(key).lower() for key in info),
                "IPTC": any("iptc" in str(key).lower() or "8bim" in str(key).lower() for key in info),
                "dpi": "dpi" in info,
            }
        if missing := [key for key, there in have.items() if not there]:
            found.append(f"{name}: {', '.join(missing)} did not come back")
    return found


def main_images(samples: Samples, names: list[str]) -> list[str]:
    found = [f"{name}: {samples.seen[name].error}" for name in names if not samples.seen[name].lr]
    return found + [
        f"{name}: {len(samples.seen[name].said)} lines"
        for name in names
        if samples.seen[name].lr and len(samples.seen[name].said) != 1
    ]


def read_or_extra(samples: Samples, names: list[str]) -> list[str]:
    seen = [samples.seen[name] for name in names]
    return [f"{one.name}: {one.error}" for one in seen if not one.lr and "pip install" not in one.error]


def read_or_cause(samples: Samples, names: list[str]) -> list[str]:
    seen = [samples.seen[name] for name in names]
    wrong = [one for one in seen if not one.lr and ("damaged" in one.error or len(one.said) != 1)]
    return [f"{one.name}: {one.error}" for one in wrong]


def damage(samples: Samples, names: list[str]) -> list[str]:
    found = []
    for name in names:
        seen = samples.seen[name]
        if seen.lr is None or len(seen.said) != 1 or "damaged" not in seen.said[0]:
            found.append(f"{name}: {seen.error or f'{len(seen.said)} lines'}")
        if (
            command("downscale", samples.files / name, "-o", samples.work / "no.png", *PLAIN, "--strict").returncode
            != 1
        ):
            found.append(f"{name}: --strict does not exit with 1")
    return found


def one_line(samples: Samples, names: list[str]) -> list[str]:
    found = []
    for name in names:
        done = command("downscale", samples.files / name, "-o", samples.work / "one" / f"{name}.png", *PLAIN)
        lines = done.stderr.splitlines()
        if (
            done.returncode
            or len(lines) > 1
            or not all(name in line and line.startswith("coscale: ") for line in lines)
        ):
            found.append(f"{name}: {done.stderr.strip()}")
    return found


def saved_again(samples: Samples, names: list[str]) -> list[str]:
    """By the command; what the browser's page does, its own tests check."""
    found = []
    for name in names:
        again, first = samples.files / name, samples.files / "lr_original.x2.png"
        _, origin = read_lr(first)
        assert origin is not None
        photos = []
        for path in (first, again):
            out = samples.work / f"{path.name}.restored.png"
            done = command("upscale", path, "-o", out, "--rescaler", origin.rescaler)
            if done.returncode:
                return [f"{path.name}: {done.stderr.strip()}"]
            photos.append(read(out).colour)
        height, width = photos[0].shape[-2:]
        if not torch.equal(photos[0], photos[1][..., :height, :width]):
            found.append(f"{name}: restored to another photo")
    return found


def checkpoints(samples: Samples, names: list[str]) -> list[str]:
    found = []
    for path in sorted((samples.folder / "checkpoints").iterdir()):
        if path.suffix == ".py":
            continue
        out = samples.work / "checkpoints" / f"{path.stem}.png"
        done = command("downscale", samples.files / "base.png", "-o", out, "--upscaler", path, "--method", "none")
        lines = done.stderr.splitlines()
        may_fail = path.stem in ("pro_int", "numpy_scalar")
        cause = may_fail and done.returncode == 1 and len(lines) == 1 and "damaged" not in lines[0]
        if done.returncode and not cause:
            found.append(f"{path.name}: {lines[-1] if lines else 'not a word'}")
    return found


def folders(samples: Samples, names: list[str]) -> list[str]:
    made, found = samples.work / "folders", []
    subprocess.run([shutil.which("bash") or "bash", "make_folders.sh", made], cwd=samples.folder, check=True)
    for folder in sorted(made.iterdir()):
        if folder.name == "elsewhere":
            continue
        out = samples.work / "of_folders" / folder.name
        done = command("downscale", folder, "-o", out, *PLAIN)
        results = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
        hidden = [path for path in folder.rglob("*") if any(part.startswith(".") for part in path.parts)]
        photos = [path for path in folder.rglob("*") if path.is_file() and path not in hidden]
        named = sum(f"{path.name}" in done.stderr.replace("\\n", "\n") for path in photos)
        if len(results) + named < len(photos):
            found.append(f"{folder.name}: of {len(photos)} photos {len(results)} were done and {named} named")
        if any(part.startswith((".", "@")) for path in results for part in path.parts):
            found.append(f"{folder.name}: hidden files were taken for photos")
        if any(path.name in done.stderr and "not a JPEG" in done.stderr for path in hidden):
            found.append(f"{folder.name}: {done.stderr.strip()}")
        if len({str(path).casefold() for path in results}) < len(results):
            found.append(f"{folder.name}: results have names that differ in case alone")
        if "Traceback" in done.stderr:
            found.append(f"{folder.name}: {done.stderr.splitlines()[-1]}")
    return found


def others(samples: Samples, names: list[str]) -> list[str]:
    found = [
        f"{name}: {samples.seen[name].error}" for name in names if (samples.seen[name].lr is None) != (name in REFUSED)
    ]
    return found + samples.wrong_png(name for name in names if samples.seen[name].lr)


CHECKS: dict[str, Callable[[Samples, list[str]], list[str]]] = {
    "flat_colours.png": mean_colours,
    "grey_as_L.png": grey_as_colour,
    "sprite_hidden_magenta.png": hidden_colours,
    "big_icc.png": read_with_all,
    "rgb_greyicc.png": fitting_profiles,
    "chrm_adobergb.png": colours_without_icc,
    "metadata.jpg": metadata,
    "tiff_multipage.tif": main_images,
    "photo.avif": read_or_extra,
    "tiff_float32.tif": read_or_cause,
    "corrupt_middle.jpg": damage,
    "bad_ancillary_crc.png": one_line,
    "lr_resaved_imagemagick.x2.png": saved_again,
    "checkpoints/*": checkpoints,
    "suffixes": folders,
    "all others": others,
}


def table(readme: str) -> list[tuple[str, str]]:
    """The rows of the table: samples, and what is right."""
    lines = [line.strip("| \n").split(" | ") for line in readme.splitlines() if line.startswith("| ")]
    return [(line[0], " | ".join(line[1:])) for line in lines[2 if lines[1][0].startswith("-") else 1 :]]


def main(folder: Path) -> int:
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="coscale-inputs-") as work:
        samples = Samples(folder, Path(work))
        left = set(samples.seen)
        for about, right in table((folder / "README.md").read_text()):
            patterns = re.findall(r"`([^`]+)`", about)
            names = [name for pattern in patterns for name in sorted(samples.seen) if fnmatch(name, pattern)]
            first = next((key for key in CHECKS if key in (patterns[:1] or [about])), None)
            if about == "all others":
                names = sorted(left)
            left -= set(names)
            seen = CHECKS[first](samples, names) if first else ["nothing here looks at this row"]
            wrong += bool(seen)
            print(f"{'WRONG' if seen else 'right'}  {about}\n       expected: {right}", flush=True)
            for line in seen or ["as expected"]:
                print(f"       seen:     {line.replace(str(samples.files) + '/', '')}", flush=True)
    print(f"{wrong} rows are not right" if wrong else "all rows are right")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
