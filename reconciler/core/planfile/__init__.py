"""The plan as a document, written and read."""
