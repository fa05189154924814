"""`python -m services.exports run | migrate | seed FILE | check | limits`."""

import sys

from countersign.runtime.program.service import main
from services.exports.wiring import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
