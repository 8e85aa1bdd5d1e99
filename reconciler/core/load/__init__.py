"""From the document of a desired-state file to a Stack."""
