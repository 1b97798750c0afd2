"""How much memory one simulated device holds for itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np


def own_bytes(root: object, shared: Iterable[object] = ()) -> int:
    """Bytes reachable from ``root``, each object counted once.

    Nothing is followed into the objects of ``shared``, nor into classes, functions and modules,
    which belong to everybody. Arrays count their buffer, also when they are views of one.
    """
    seen = {id(thing) for thing in shared}
    total = 0
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type) or callable(thing):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        if isinstance(thing, np.ndarray):
            # getsizeof counts the buffer of an owner only; a view leads to its owner.
            if thing.base is not None:
                waiting.append(thing.base)
        elif isinstance(thing, dict):
            waiting.extend(thing.keys())
            waiting.extend(thing.values())
        elif isinstance(thing, list | tuple | set | frozenset):
            waiting.extend(thing)
        else:
            waiting.extend(vars(thing).values() if hasattr(thing, "__dict__") else ())
            for kind in type(thing).__mro__:
                slots = kind.__dict__.get("__slots__", ())
                names = (slots,) if isinstance(slots, str) else slots
                waiting.extend(getattr(thing, n) for n in names if hasattr(thing, n))
    return total
