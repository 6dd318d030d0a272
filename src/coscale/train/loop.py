"""The training loop: one recipe, one folder out with the weights, a checkpoint to go on from, and a log."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from coscale import resize
from coscale.files import replacing
from coscale.metrics import compare, psnr
from coscale.quantize import quantize
from coscale.rescalers.irn import IRN
from coscale.train.data import load
from coscale.train.muon import Muon
from coscale.train.recipes import Recipe


def loss(
    network: IRN,
    recipe: Recipe,
    hr: Float[Tensor, "b 3 h w"],
    bicubic: Float[Tensor, "b 3 h2 w2"],
    guidance: float,
    late: bool,
) -> Float[Tensor, ""]:
    """The recipe's loss of one batch; ``late`` chooses MSE for the restored photo."""
    with torch.autocast(hr.device.type, torch.bfloat16):
        lr, z = network(hr)
        error = network.inverse(quantize(lr)) - hr
    restored = recipe.l2_weight * error.square().mean() if late else error.abs().mean()
    return restored + guidance * (lr - bicubic).square().mean() + recipe.latent * z.square().mean()


def learning_rate(recipe: Recipe, step: int) -> float:
    """The factor on the learning rate: linear warm-up, then half a cosine down to 0."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


@torch.no_grad()
def validate(network: IRN, crops: Float[Tensor, "n 3 h w"]) -> dict[str, float]:
    """Mean PSNR-Y of the restored crops through an 8-bit LR, and mean PSNR of the LR against bicubic."""
    lr = quantize(network.downscale(crops))
    restored = quantize(network.upscale(lr))
    bicubic = quantize(resize.downscale(crops, network.scale))
    quality = compare(restored, crops, network.scale)["psnr_y"]
    return {"psnr_y": float(quality.mean()), "lr_psnr": float(psnr(lr, bicubic).mean())}


def train(
    recipe: Recipe,
    folders: Sequence[Path],
    out: Path,
    say: Callable[[str], None] = print,
    compiled: bool = True,
    report_seconds: float = 60,
) -> Path:
    """Train ``recipe`` and return the path of its weights, ``out``/NAME.safetensors (the moving average).

    Goes on from ``out``/checkpoint.pt where there is one; it is replaced every ``report_seconds``, after a
    validation. ``compiled`` steps take a minute to prepare and are faster then.
    """
    photos, crops = load(folders, recipe.patch)
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    network = IRN(recipe.blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = IRN(recipe.blocks)
    average.load_state_dict(network.state_dict())
    kernels = [p for p in network.parameters() if p.ndim == 4]
    biases = [p for p in network.parameters() if p.ndim == 1]
    optimizers = [Muon(kernels, recipe.lr), torch.optim.Adam(biases, recipe.lr, betas=(0.9, 0.99))]
    start, seconds = 0, 0.0

    def state() -> dict[str, Any]:
        return {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizers": [o.state_dict() for o in optimizers],
            "generator": generator.get_state(),
            "step": step,
            "seconds": seconds,
        }

    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        for optimizer, values in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        generator.set_state(saved["generator"])
        start, seconds = saved["step"], saved["seconds"]
        say(f"going on from step {start}")

    step_loss = torch.compile(loss) if compiled else loss
    reported = begun = time.monotonic()
    for step in range(start, recipe.steps + 1):
        now = time.monotonic()
        if now - reported > report_seconds or step == recipe.steps:
            seconds += now - begun
            reported = begun = now
            row = {"step": step, "seconds": round(seconds), **validate(average, crops)}
            say(json.dumps(row))
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            with replacing(checkpoint) as temporary:
                torch.save(state(), temporary)
        if step == recipe.steps:
            break
        factor = learning_rate(recipe, step)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = recipe.lr * factor
        hr = photos.batch(recipe.batch, recipe.patch, generator)
        late = step >= recipe.steps * (1 - recipe.l2_share)
        guidance = [weight for first, weight in recipe.guidance if first <= step][-1]
        step_loss(network, recipe, hr, resize.downscale(hr, network.scale), guidance, late).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            decay = min(recipe.ema, (step + 1) / (step + 10))
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    weights = out / f"{recipe.name}.safetensors"
    tensors = {name: value.contiguous() for name, value in average.state_dict().items()}
    with replacing(weights) as temporary:
        save_file(tensors, temporary)
    with replacing(out / "recipe.json") as temporary:
        temporary.write_text(json.dumps(asdict(recipe), indent=2) + "\n")
    return weights
