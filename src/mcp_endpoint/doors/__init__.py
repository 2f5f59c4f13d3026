"""How peers come in: a door knows one transport and hands the broker links."""
