"""Deterministic simulation: the engines that serve, run through hostile universes in virtual time."""
