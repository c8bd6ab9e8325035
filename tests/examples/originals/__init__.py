"""The same programs with the libraries that the tutorials teach them with: peers for tests."""
