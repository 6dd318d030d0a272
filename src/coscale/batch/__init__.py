"""Collections of photos: which there are, what of them is done, and the workers that do the rest.

collection -> jobs --driver--> engine (local, ray) -> worker -> LR file
                      |                                 |
                   manifest <---------- row ------------+
"""
