"""Tool servers that the broker opens itself: each ends up as one more tool-side link.

Lowest first: source (what every kind looks like), entries (the file that names them), arguments; net_errors,
send_queue, source_output, advice, jobs, oauth and local; then the kinds, which do not know each other: transports,
openapi, local.python. factory makes a source of an entry; definitions and pins are for its tools, link joins it to the
broker, provider runs it again and again, supervisor runs all of them. Only factory knows the kinds.
"""
