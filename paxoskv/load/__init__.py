"""The load generator behind `paxoskv bench`: many clients in one process, at little cost for each operation."""
