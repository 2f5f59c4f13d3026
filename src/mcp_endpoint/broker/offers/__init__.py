"""What tool sides offer and what it is called, whoever they are: nothing here knows a link.

Lowest first: `pattern`, `naming`, `offer`; `tool_filter` is on all three.
"""
