"""A page to try the method on a photo; it needs the extra ``serve``."""
