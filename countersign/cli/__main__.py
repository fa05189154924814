"""`python -m countersign.cli`, where the package is not installed."""

import sys

from countersign.cli import main

if __name__ == "__main__":
    sys.exit(main())
