"""The page for looking and choosing: a web server for one person on this machine.

guard    who may come in: Host, token, session, Origin; what every answer's head says
shelf    what there is, followed while a run writes and others decide
tabs     server-sent events to every open tab
more     further variations of one product, by the same engine
ahead    thumbnails before somebody looks at them
pictures the bytes of pictures, thumbnails and originals
api      the paths
server   all of it together, from start to Ctrl-C
"""

from batch_reimagine.review.more import How
from batch_reimagine.review.server import Options, serve

__all__ = ["How", "Options", "serve"]
