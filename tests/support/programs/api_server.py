"""A real HTTP API that describes itself: `api_server.py PORT`."""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI(title="Counter")


@app.get("/count", operation_id="count")
async def count(steps: int) -> str:
    """Count to `steps`."""
    return f"counted to {steps}"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), timeout_graceful_shutdown=1)
