"""What goes out: the checked HTTP client and its ways, addresses, server-sent events, back-off."""
