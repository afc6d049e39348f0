"""Makes ``tiny_run`` importable for all tests."""
