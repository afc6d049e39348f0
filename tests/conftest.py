"""Makes the helpers beside it importable for all tests."""
