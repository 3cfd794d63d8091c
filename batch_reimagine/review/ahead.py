"""Thumbnails that nobody looks at yet: of pictures first, then of originals."""

import anyio

from batch_reimagine.catalogue import Product
from batch_reimagine.renditions import Renditions
from batch_reimagine.review.shelf import Shelf

_EVERY_S = 0.5
_MOST_FETCHED = 500  # pictures and originals that nobody looks at yet, where each is a transfer


async def make_ahead(shelf: Shelf, renditions: Renditions) -> None:
    """Make them one by one, as they come, until it is cancelled."""
    known: set[tuple[str, int, str | None]] = set()
    seen: object = None
    await renditions.warm()
    while True:
        await anyio.sleep(_EVERY_S)
        if seen is shelf.products:
            continue
        seen = products = shelf.products
        shown = [one.product for one in products.values()]
        pictures = [(product, v.number, v.sha256) for product in shown for v in product.done]
        originals: list[tuple[Product, int, str | None]] = [(p, 0, p.content) for p in shown]
        for product, n, content in pictures + originals:
            if shelf.tree.remote and len(known) >= _MOST_FETCHED:
                break
            if (product.id, n, content) not in known:
                known.add((product.id, n, content))
                await renditions.thumbnail(product, n, ahead=True)
