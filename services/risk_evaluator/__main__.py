"""`python -m services.risk_evaluator run | migrate | check | limits`."""

import sys

from countersign.runtime.program.service import main
from services.risk_evaluator.wiring import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
