"""What those who run Countersign ask and do, for programs and tests; the command line only shows it."""
