"""Export: the chosen pictures in the shop's folder, under the shop's names.

`export` does it, `presets` lists what shops want, `command` gives the equal line of a shell.
"""

from batch_reimagine.export.deliver import Exported, export
from batch_reimagine.export.options import Options, command
from batch_reimagine.export.presets import Preset, presets

__all__ = ["Exported", "Options", "Preset", "command", "export", "presets"]
