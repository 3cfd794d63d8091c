"""MkDocs hook: the repository's own files that pages link to become part of the site.

A page may link to ../CHANGELOG.md or ../../configs/novita.toml as it does in the repository;
MkDocs knows only what lies below docs/. Markdown files become pages of the site under their own
path, other files are copied beside them; every relative link is written anew for where both
lie now, and a link to a folder becomes plain text. A link to a file that is not there stays,
and `mkdocs build --strict` refuses it.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(\]\(|<img src=\")([^)\s\"#:]+)(#[^)\s\"]*)?(?=[)\s\"])")
_FOLDER = re.compile(r"\[([^\]\n]+)\]\(([^)\s:]+/)\)")
_FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?![^>]*rel=[\"']?(?:canonical|prev|next|alternate))[^>]*\shref=[\"']?(?:https?:)?//[^>]*>"
)
_FENCE = re.compile(r"(^(```|~~~).*?^\2[^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the pages of the navigation by where they come to lie."""
    config.nav = _placed(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in what the pages, and the pages that they bring, link to."""
    docs = Path(config.docs_dir)
    waiting = [docs / file.src_uri for file in files.documentation_pages()]
    waiting += [ROOT / name.removeprefix("../") for name in _outside]
    taken = set()
    while waiting:
        page = waiting.pop()
        linked = [page] if not page.is_relative_to(docs) else []
        if page.suffix == ".md":
            linked += [_target(page, found[2]) for found in _links(page)]
        for path in linked:
            if path in taken or path.is_relative_to(docs) or not _is_ours(path):
                continue
            taken.add(path)
            uri = path.relative_to(ROOT).as_posix()
            content = path.read_text("utf-8") if path.suffix == ".md" else path.read_bytes()
            files.append(File.generated(config, uri, content=content))
            waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write a page's links for where it and its targets lie on the site."""
    docs = Path(config.docs_dir)
    brought = page.file.generated_by is not None
    source = (ROOT if brought else docs) / page.file.src_uri

    def anew(found: re.Match[str]) -> str:
        target = _target(source, found[2])
        inside = target.is_relative_to(docs)
        if not _is_ours(target) or (inside and not brought):
            return found[0]
        uri = target.relative_to(docs if inside else ROOT).as_posix()
        if files.get_file_from_path(uri) is None:
            return found[0]
        return f"{found[1]}{os.path.relpath(uri, page.file.src_uri + '/..')}{found[3] or ''}"

    def plain(found: re.Match[str]) -> str:
        return found[1] if _target(source, found[2]).is_dir() else found[0]

    markdown = _FOLDER.sub(plain, markdown)
    parts = _FENCE.split(markdown)
    return "".join(
        part if kind == 1 else _LINK.sub(anew, part) if kind == 0 else ""
        for kind, part in ((at % 3, part) for at, part in enumerate(parts))
    )


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that would load anything from another host."""
    if found := _FROM_ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found[0]}")
    return output


_outside: list[str] = []


def _placed(nav: Any) -> Any:
    if isinstance(nav, list):
        return [_placed(item) for item in nav]
    if isinstance(nav, dict):
        return {title: _placed(item) for title, item in nav.items()}
    if isinstance(nav, str) and nav.startswith("../"):
        _outside.append(nav)
        return nav.removeprefix("../")
    return nav


def _links(page: Path) -> list[re.Match[str]]:
    return [*_LINK.finditer(_FENCE.sub("", page.read_text("utf-8")))]


def _target(page: Path, link: str) -> Path:
    return Path(os.path.normpath(page.parent / link))


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(ROOT) and path.is_file()
