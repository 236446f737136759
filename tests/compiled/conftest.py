"""What needs the compiled build, of which PAXOSKV_COMPILED names the Python; `make test-compiled` makes it."""

import os

collect_ignore_glob = [] if "PAXOSKV_COMPILED" in os.environ else ["test_*.py"]
