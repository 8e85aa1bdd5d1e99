"""Values and texts: paths, trees, digests, references, words."""
