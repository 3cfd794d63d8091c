"""The services' APIs on localhost: a second reading of their facts, for tests and for trying.

It shares no code with the client's side, so that one misreading cannot hide behind the other.
It is no generative model: its pictures are the photos sent, processed (see `pictures`).
"""

from batch_reimagine.simulator.behaviour import Behaviour
from batch_reimagine.simulator.server import Server, make_app, serve

__all__ = ["Behaviour", "Server", "make_app", "serve"]
