"""With trio-websocket."""
