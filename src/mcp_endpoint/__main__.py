"""`python -m mcp_endpoint` is the `mcp-endpoint` command."""

from mcp_endpoint.cli import main

raise SystemExit(main())
