"""Finding a controller, connecting to it, and asking ranks who they are."""
