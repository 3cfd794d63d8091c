"""The command line: one thin file a command; flags → a call, errors → exit codes.

This is the only room that prints, exits, or reads argv and the environment.
"""

import sys
from collections.abc import Collection, Sequence
from typing import Any

from batch_reimagine import __version__

# Imported only when called; so each needs its line of help here.
_COMMANDS = {
    "run": "Make N variations of every photo; the same command resumes.",
    "auth": "Keep a provider's key, show where it comes from, remove it.",
    "doctor": "Key, service, balance, clock, disk, codecs, settings in force.",
    "status": "Counts, money and failures of an output; safe during a run.",
    "report": "What an output took: made, failed, spent, by folder, day or reason; and the bill.",
    "verify": "Hash every output again and compare it with the manifest.",
    "mark": "Check that pictures carry the AI mark; apply it again.",
    "review": "The page for looking and choosing; works while a run goes on.",
    "pick": "Decide which variations are good, or read picks.csv back; counts.",
    "export": "The chosen pictures into a shop's folder, under the shop's names.",
    "simulate": "The services' APIs on localhost, with faults on demand.",
    "demo": "Sample photos, the simulator, and a picture to look at.",
    "completion": "Completion of commands and flags for bash, zsh or fish.",
}

_SHORTEST_KEY = 16  # characters

_EPILOGUE = """\
Exit codes: 0 all done · 1 unexpected · 2 usage or settings · 3 finished, some images failed ·
4 the key or the account was refused, or no money · 5 the service cannot be reached ·
6 stopped by a halt rule · 8 budget or limit reached · 9 disk full or not writable ·
10 not an output folder, or made with other settings · 11 the output is in use ·
129/130/143 interrupted. The same command goes on where it stopped."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    if tokens == ["--version"]:  # answered before anything heavy is imported
        print(__version__)
        return 0
    from batch_reimagine.cli import exits  # noqa: PLC0415 - not for --version
    from batch_reimagine.errors import ReimagineError, UsageError  # noqa: PLC0415

    try:
        return _run(tokens)
    except UsageError as error:
        words = ["batch-reimagine", *(word for word in tokens[:1] if word in _COMMANDS), "--help"]
        exits.say(f"{error}\nSee {' '.join(words)}")
        return exits.USAGE
    except ReimagineError as error:
        exits.say(str(error))
        return exits.code_of(error)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user
        exits.unexpected(error)
        return exits.UNEXPECTED


def application(told_whole: Collection[str] = tuple(_COMMANDS)) -> Any:
    """All commands; those that are to be told whole, with their docstrings, are imported."""
    import cyclopts  # noqa: PLC0415 - not for --version

    app = cyclopts.App(
        name="batch-reimagine",
        version=__version__,
        help="Folders of product photos through an image API: N variations each, resumable.",
        help_format="plaintext",  # the others import as much again as all else here
        help_epilogue=" ".join(_EPILOGUE.split()),
    )
    for order, (name, line) in enumerate(_COMMANDS.items()):
        home = f"batch_reimagine.cli.{name}:{name}"
        help_ = _docstring(name) if name in told_whole else line
        app.command(home, name=name, help=help_, sort_key=order)
    return app


def _docstring(name: str) -> str:
    """A command's docstring, a line a paragraph: the terminal breaks them where it ends."""
    import importlib  # noqa: PLC0415 - not for --version
    import inspect  # noqa: PLC0415

    command = getattr(importlib.import_module(f"batch_reimagine.cli.{name}"), name)
    paragraphs = inspect.cleandoc(command.__doc__).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _without_keys(message: str, tokens: Sequence[str]) -> str:
    """What the parser says, without words of the user's that may be a key in the wrong place."""
    for token in tokens:
        flag, _, value = token.partition("=") if token.startswith("-") else ("", "", token)
        may_be_path = ("/" in value or "." in value) and tokens[0] != "auth"
        if len(value) >= _SHORTEST_KEY and not may_be_path:
            message = message.replace(token, f"{flag}=…" if flag else "…")
    return message


def _run(tokens: list[str]) -> int:
    import cyclopts  # noqa: PLC0415 - not for --version

    from batch_reimagine.errors import UsageError  # noqa: PLC0415

    app = application(tokens[:1])
    if tokens and not tokens[0].startswith("-") and tokens[0] not in _COMMANDS:
        word = _without_keys(repr(tokens[0]), tokens)
        raise UsageError(f"there is no command {word}; known: {', '.join(_COMMANDS)}")
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise UsageError(_without_keys(str(error).strip(), tokens)) from None
    except ValueError as error:  # a value that its own class refused
        raise UsageError(str(error)) from None
    result = command(*bound.args, **bound.kwargs)
    return result if isinstance(result, int) else 0
