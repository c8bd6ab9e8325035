"""What decides whether a long run went well, and one that is very short."""
