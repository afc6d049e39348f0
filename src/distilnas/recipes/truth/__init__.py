"""The recipe `truth`: networks of a space, all trained and tested in the same way."""
