"""A live cluster under faults, and the verdict on what its clients saw."""
