"""The plan: what is decided for each address, and what must never be done."""
