"""Definitions of tools, prompts and resources: made fit for every client, or left out with a remark."""
