"""Exit codes that no error class owns."""

DIFFERENCE = 2
USAGE = 64
SIGINT = 130
SIGTERM = 143
