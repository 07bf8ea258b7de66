"""``python -m functions.local``: the command behind ``scripts/serve``."""

from __future__ import annotations

import sys

from functions.local.command import main

sys.exit(main(sys.argv[1:]))
