// The version of this package: that of the Python package whose files it reads.
export const VERSION = "0.1.0";
