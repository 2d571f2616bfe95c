"""What a distributed environment offers, one kind of request to a module."""
