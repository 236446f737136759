"""What this build is: interpreted, or compiled by mypyc."""

from typing import Final

COMPILED: Final = not __file__.endswith(".py")
"""Whether this module, and with it the engines, was compiled (see setup.py)."""
