"""The paper's tables and figures, measured again: what is needed, the measurements, and how they are shown.

``run`` is all of it as one function, ``systems_of`` what is measured.
"""

from coscale.reproduce.runner import Reproduced, run, systems_of

__all__ = ["Reproduced", "run", "systems_of"]
