"""What goes out: the checked HTTP client, addresses, proxies, certificates, server-sent events, back-off.

The order, lowest first: errors, backoff, trust, http_answer · addresses, event_reader, proxies · socks ·
http_transport · http_client.
"""
