"""Collections of photos: which there are, what of them is done, and the workers that do the rest.

collection -> assignments --driver--> engine (local, ray) -> worker -> LR file
                             |                                 |
                          manifest <---------- row ------------+

``run`` is all of it as one function, ``BatchSettings`` what is done to each photo, ``Crew`` who does it.
"""

from coscale.batch.runner import Crew, PhotoOutcome, Totals, run
from coscale.batch.worker import BatchSettings

__all__ = ["BatchSettings", "Crew", "PhotoOutcome", "Totals", "run"]
