"""The methods: how the LR image is changed so that the upscaler restores more."""

from coscale.collaborate.coscale import Coscale
from coscale.collaborate.hcd import HCD
from coscale.collaborate.method import Method, Plain, Result, Stage, Watch

PLAIN = Plain()
"""No method: the LR as the rescaler makes it."""
METHODS: dict[str, type[Method]] = {kind.name: kind for kind in (Plain, HCD, Coscale)}  # what the command offers

__all__ = ["HCD", "METHODS", "PLAIN", "Coscale", "Method", "Plain", "Result", "Stage", "Watch"]
