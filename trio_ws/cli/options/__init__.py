"""What the commands can be asked for: frozen dataclasses, one field an option.

They are read when the command starts, so nothing here imports more than Typer.
"""
