"""What runs keep: one record for each artefact, by which it is written and read; free of torch."""
