"""Networks that cannot be optimised through are found on a small image."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coscale.diagnose import diagnose
from coscale.errors import CoscaleWarning, RescalerError
from coscale.rescalers import SuperResolution
from coscale.weights.load import Loaded, load

DOCS = Path(__file__).parents[1] / "docs" / "upscalers.md"


class Odd(nn.Module):
    """Twice the size by bicubic, with something wrong."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.elsewhere = torch.ones(1, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        out = F.interpolate(x, scale_factor=2.0, mode="bicubic")
        match self.case:
            case "size":
                return x
            case "not finite":
                return out / 0
            case "noise":
                return out + 0.1 * torch.rand_like(out)
            case "device":
                return out * self.elsewhere
            case "detached":
                return out.detach()
            case "inference":
                with torch.inference_mode():
                    return out * 1
            case "rounded":
                return out.round()
            case "root":
                return (out - out).sqrt() + out
            case "range":
                return 255 * out
            case "global":
                return out * (1 + 0.2 * x.mean((2, 3), keepdim=True))
        return out


def loaded(case: str) -> Loaded:
    return Loaded(f"bicubic+{case}", SuperResolution(Odd(case), 2), "", torch.device("cpu"))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("size", "a whole number of times as large"),
        ("not finite", "values that are no numbers"),
        ("noise", r"two passes differ by \d+\.\d grey levels"),
        ("device", "fails on a small image: .*device"),
        ("detached", "no gradient comes back through it in float32"),
        ("inference", "no gradient comes back through it in float32"),
        ("rounded", "its gradient is zero"),
        ("root", "its gradient in float32 is not finite"),
    ],
)
def test_what_is_refused(case: str, message: str) -> None:
    with pytest.raises(RescalerError, match=rf"^bicubic\+{case} cannot be used: .*{message}.*; see docs/") as caught:
        diagnose(loaded(case))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("case", "message"), [("range", "from the LR on average"), ("global", "in tiles it restores a photo otherwise")]
)
def test_what_is_warned_of(case: str, message: str) -> None:
    with pytest.warns(CoscaleWarning, match=message):
        diagnose(loaded(case))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.filterwarnings("error")
def test_sound_rescalers_pass(precision: str) -> None:
    diagnose(loaded("sound"), precision)  # type: ignore[arg-type]
    diagnose(load("light-x2"), precision)  # type: ignore[arg-type]
    diagnose(loaded("detached"), optimised=False)


def test_every_finding_has_its_section() -> None:
    source = Path(diagnose.__code__.co_filename).read_text()
    named = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"\)', source))
    sections = re.findall(r"^### (.*)$", DOCS.read_text(), re.MULTILINE)
    assert named == {section.lower().replace(" ", "-") for section in sections}
