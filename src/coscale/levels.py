"""How coarse a lossy codec was, as one byte: what the note of an LR file says, and an upscaler is told."""

import math

LEVELS = 256
AN_OCTAVE = 32  # levels by which the quantiser's step doubles


def level_of(step: float) -> int:
    """Give the level of a codec whose mean quantiser step is ``step`` grey levels; 0 for one that loses nothing."""
    return min(LEVELS - 1, max(0, round(AN_OCTAVE * math.log2(max(step, 1)))))


def step_of(level: int) -> float:
    """Give the quantiser's step, in grey levels, of a level."""
    return 2 ** (level / AN_OCTAVE)
