"""The state and its journal: text, meaning, moves by hand."""
