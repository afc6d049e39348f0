"""Search methods; neighbours that share building blocks and do not import each other."""
