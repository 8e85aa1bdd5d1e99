"""What a provider type's schema says, and whether a value fits."""
