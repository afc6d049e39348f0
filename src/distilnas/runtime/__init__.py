"""Device, seeds, checkpoints, run folders, progress: what every step needs and none owns."""
