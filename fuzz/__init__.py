"""Fuzzing: what the parsers do with bytes that nobody thought of.

``python -m fuzz`` runs every target of `fuzz.targets` under atheris, which looks for bytes that
lead to code not seen before. ``make fuzz`` does more: see CONTRIBUTING.md.
"""
