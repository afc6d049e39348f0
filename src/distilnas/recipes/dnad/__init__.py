"""The recipe `dnad`: a student found by a search in the space of DARTS."""
