"""Reading one log of the store for a verdict on it, over asyncio: its rows, its marks, and as of when they hold.

Everything else in this part knows neither a store nor a clock.
"""
