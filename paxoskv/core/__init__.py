"""The words both engines share: operations, results, errors, placement, and the contract of an engine.

Nothing here imports anything else of ours.
"""
