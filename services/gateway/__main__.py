"""`python -m services.gateway run | migrate | seed FILE | check | limits`."""

import sys

from countersign.runtime.program.service import main
from services.gateway.wiring import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
