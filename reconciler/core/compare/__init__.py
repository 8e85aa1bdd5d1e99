"""What differs between declared, recorded and live, for one deployment."""
