"""`python -m services.enrolment run | migrate | seed FILE | check | limits | verify-audit | rekey`."""

import sys

from countersign.runtime.program.service import main
from services.enrolment.wiring import SERVICE

if __name__ == "__main__":
    sys.exit(main(SERVICE))
