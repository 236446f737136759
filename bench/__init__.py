"""Micro-benchmarks: what each layer costs by itself. See README.md beside this file."""
