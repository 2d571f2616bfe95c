"""What the user sees of a culture and of the cluster."""
