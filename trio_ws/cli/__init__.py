"""The command line: ``trio-ws serve`` and ``trio-ws client``."""
