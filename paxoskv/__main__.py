"""`python -m paxoskv`."""

from paxoskv.cli import main

main(prog_name="paxoskv")
