"""FastAPI as one writes it first: decode the events, return dicts."""

import json

from shared.fastapi_log import app, read


@app.get("/model/etl/log")
async def log() -> dict:
    """The whole log."""
    allocation, asset, counters = await read()
    return {
        "code": 200,
        "data": {
            "allocation": [json.loads(event) for event in allocation],
            "asset": [json.loads(event) for event in asset],
            "counters": counters,
        },
    }
