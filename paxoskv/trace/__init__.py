"""Traces: what happened in a cluster, in order, one JSON object a line (docs/trace-format.md).

The simulator and live nodes write them (`events`), films and merged files are made from them (`reading`, `merging`).
"""
