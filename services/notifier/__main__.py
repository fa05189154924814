"""`python -m services.notifier`."""

from __future__ import annotations

import sys

from countersign.runtime.program.service import main
from services.notifier.wiring import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
