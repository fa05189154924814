"""Keys of the rings that services share: a new one in, known everywhere, then active; an old one out once unused."""
