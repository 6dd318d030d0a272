"""Stands in for torchvision where that cannot be installed: the names that spandrel imports, and nothing else.

With ``PYTHONPATH=tests/standin``, spandrel imports without torchvision.
"""
