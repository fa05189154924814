"""`python -m services.verifier`: run, migrate, check, limits."""

import sys

from countersign.runtime.program.service import main
from services.verifier.wiring import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
