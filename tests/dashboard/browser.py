"""The page as a browser gets it, over the websocket."""

import asyncio

from bokeh.client import pull_session
from bokeh.document import Document


def opened(url: str) -> Document:
    """The document of the page at `url`."""
    # Bokeh's client takes the thread's event loop for granted, which other tests and newer Pythons leave unset.
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        try:
            with pull_session(url=url) as session:
                return session.document
        finally:
            asyncio.set_event_loop(None)
