"""From the rows of an evaluation to tables and pictures."""
