"""The recipe `dna`: a student found block by block under a teacher."""
