"""Links, anchors and pictures of the documents lead somewhere: README.md, docs/, the notebook.

GitHub names a heading by its text: small letters, no punctuation, blanks as hyphens, and a number
for one that was there before. Only what is in the repository is looked at, not other hosts.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]


def text_of(document: Path) -> str:
    """Its Markdown; of a notebook, all of its Markdown cells."""
    if document.suffix != ".ipynb":
        return document.read_text()
    cells = nbformat.read(document, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def tokens_of(markdown: str) -> list[Token]:
    """Blocks and what is inside of them, in one row."""
    found = []
    for block in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown):
        found += [block, *(block.children or ())]
    return found


def targets_of(markdown: str) -> list[str]:
    """Where links and pictures lead."""
    named = {"link_open": "href", "image": "src"}
    return [
        str(token.attrs[named[token.type]]) for token in tokens_of(markdown) if token.type in named
    ]


def anchors_of(markdown: str) -> set[str]:
    """What can stand behind `#`."""
    tokens = tokens_of(markdown)
    seen: Counter[str] = Counter()
    anchors = set()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(each.content for each in inline.children or () if not each.nesting)
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            anchors.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return anchors


def broken(document: Path, root: Path) -> Iterator[str]:
    """Each link or picture of a document that leads nowhere, or out of the repository."""
    markdown = text_of(document)
    for target in targets_of(markdown):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = (document.parent / unquote(parts.path)).resolve() if parts.path else document
        if not path.is_relative_to(root):
            yield f"{target}: outside of the repository"
        elif not path.exists():
            yield f"{target}: there is no {path.relative_to(root)}"
        elif parts.fragment and path.suffix not in (".md", ".ipynb"):
            yield f"{target}: no anchors are known in {path.relative_to(root)}"
        elif parts.fragment and unquote(parts.fragment) not in anchors_of(text_of(path)):
            yield f"{target}: there is no such heading in {path.relative_to(root)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_anchor_and_picture_is_there(document: Path) -> None:
    assert list(broken(document, ROOT)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_has_html_whose_links_nobody_looks_at(document: Path) -> None:
    tokens = tokens_of(text_of(document))
    html = [token.content for token in tokens if token.type in ("html_block", "html_inline")]
    assert [each for each in html if re.search(r"\b(href|src|id|name)\s*=", each)] == []


def test_every_picture_has_words_for_those_who_do_not_see_it() -> None:
    images = [
        (document.name, token.attrs["src"])
        for document in DOCUMENTS
        for token in tokens_of(text_of(document))
        if token.type == "image" and not token.content.strip()
    ]
    assert images == []


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        (document.parent / target).resolve()
        for document in DOCUMENTS
        for target in targets_of(text_of(document))
    }
    pictures = [path for path in (ROOT / "docs" / "images").rglob("*") if path.suffix != ".yaml"]
    assert [path for path in pictures if path.is_file() and path not in shown] == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a picture.png").touch()
    (tmp_path / "docs" / "other.md").write_text(
        "# Two words, `code` & more\n\n## Again\n\n## Again\n\n```\n# no heading\n```\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "markdown",
    [
        "[x](docs/other.md)",
        "[x](docs/)",
        "![x](docs/a%20picture.png)",
        "[x](docs/other.md#two-words-code--more)",
        "[x](docs/other.md#again-1)",
        "[x][there]\n\n[there]: docs/other.md#again",
        "# Here\n\n[x](#here)",
        "[x](https://example.org/nowhere)",
        "`[x](nowhere.md)`\n\n    [x](nowhere.md)\n",
    ],
)
def test_what_leads_somewhere_is_not_complained_of(repository: Path, markdown: str) -> None:
    (repository / "README.md").write_text(markdown)
    assert list(broken(repository / "README.md", repository)) == []


@pytest.mark.parametrize(
    "markdown",
    [
        "[x](docs/none.md)",
        "![x](docs/none.png)",
        "| a |\n|---|\n| [x](none.md) |",
        "[x][there]\n\n[there]: docs/none.md",
        "[x](docs/other.md#no-heading)",
        "[x](docs/other.md#again-2)",
        "[x](#here)",
        "[x](../outside.md)",
        "[x](docs/a%20picture.png#part)",
        "[![x](docs/a%20picture.png)](docs/none.md)",
    ],
)
def test_what_leads_nowhere_is_found(repository: Path, markdown: str) -> None:
    (repository / "README.md").write_text(markdown)
    assert len(list(broken(repository / "README.md", repository))) == 1


def test_links_of_a_notebook_are_looked_at(repository: Path) -> None:
    cells = [
        nbformat.v4.new_markdown_cell("[x](docs/other.md), [y](docs/none.md)"),
        nbformat.v4.new_code_cell("'[x](docs/none.md)'"),
    ]
    path = repository / "some.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert len(list(broken(path, repository))) == 1
