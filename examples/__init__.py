"""Programs to read, run and copy: README.md says what each shows."""
