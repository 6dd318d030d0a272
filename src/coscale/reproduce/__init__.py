"""The paper's tables and figures, measured again: what is needed, the measurements, and how they are shown."""
