"""What pages show can be done, what they link to is there, nothing is left out."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ranks import MPI_SETTINGS

import livn_ipp
from livn_ipp.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page for page in DOCS.rglob("*.md") if "_build" not in page.parts
)  # notebooks/ is a link, which rglob does not follow
TEXTS = [*PAGES, *ROOT.glob("*.md")]
API = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.md")))

BLOCK = re.compile(
    r"(?:<!-- ([^>]*) -->\n)?^ *```(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
NOT_RUN = "not run"  # a block after <!-- not run: why -->
AGAIN = "in a new process"  # a block after <!-- in a new process -->


def name(page):
    return str(page.relative_to(ROOT))


def slug(heading):
    """Name a heading as links do."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def blocks(page):
    """Yield note, language and text of each block of code."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def programs(page):
    """Put together what a reader would run, process by process."""
    found = [""]
    for note, language, text in blocks(page):
        if language != "python" or note.startswith(NOT_RUN):
            continue
        if note == AGAIN:
            found.append("")
        found[-1] += text + "\n"
    return [program for program in found if program]


RUNNING = [page for page in PAGES if page.parent.name == "howto"] + [
    DOCS / "concepts.md"
]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_tells_its_language_and_every_note_is_heeded(page):
    for note, language, _ in blocks(page):
        assert language
        assert not note or note == AGAIN or note.startswith(f"{NOT_RUN}: ")


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_python_blocks_are_python(page):
    for _, language, text in blocks(page):
        if language == "python":
            ast.parse(text)


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_commands_exist(page):
    lines = [
        line.strip()
        for _, language, text in blocks(page)
        if language == "bash"
        for line in text.splitlines()
    ]
    lines += re.findall(r"`((?:livn-ipp|make|python) [^`\n]+)`", page.read_text())
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines:
        program, *arguments = line.partition("#")[0].split()
        if program == "livn-ipp":
            command, *rest = arguments
            if rest or not main.commands[command].params:
                main.commands[command].make_context(command, rest)
        elif program == "make":
            assert set(arguments) <= set(targets)
        elif program == "python" and arguments[0].endswith(".py"):
            assert (ROOT / arguments[0]).is_file() or arguments == ["script.py"]


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "mailto:")):
            continue
        path = (page.parent / target) if target else page
        assert path.exists(), f"{target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor[1:] in {slug(heading) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_page_is_in_a_table_of_contents(page):
    listed = {
        found
        for other in PAGES
        for _, language, text in blocks(other)
        if language == "{toctree}"
        for line in text.splitlines()
        if line and not line.startswith(":")
        for found in other.parent.glob(f"{line}.md")
    }
    assert page in listed or page == DOCS / "index.md"


TELLING_WHERE_IT_HANGS = """
import faulthandler
faulthandler.dump_traceback_later(140, exit=True)
"""


@pytest.mark.cluster
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_the_programs_of_a_page_run(page, tmp_path):
    for program in programs(page):
        process = subprocess.run(
            [sys.executable, "-c", TELLING_WHERE_IT_HANGS + program],
            env={**os.environ, **MPI_SETTINGS},
            cwd=tmp_path,
            capture_output=True,
            timeout=150,
            text=True,
        )
        assert process.returncode == 0, process.stderr


# The API


def api_objects():
    """Return what the pages of the API describe, by full name."""
    found = {}
    pattern = r"^\.\. auto(module|class):: (\S+)\n((?: +:.*\n)*)"
    for kind, target, options in re.findall(pattern, API, re.MULTILINE):
        if kind == "class":
            module, _, attribute = target.rpartition(".")
            found[target] = getattr(importlib.import_module(module), attribute)
            continue
        module = importlib.import_module(target)
        chosen = re.search(r":members: (.+)", options)
        members = re.split(r",\s*", chosen[1]) if chosen else module.__all__
        found |= {f"{target}.{each}": getattr(module, each) for each in members}
    return found


def described(thing):
    return any(thing is each for each in api_objects().values())


@pytest.mark.parametrize("public", sorted({*livn_ipp.__all__} - {"__version__"}))
def test_every_name_of_the_package_is_described(public):
    assert described(getattr(livn_ipp, public))


def shown_imports():
    """Yield (module, name) of what README, pages, examples and notebooks import."""
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / "examples").glob("*.py")]
    for page in TEXTS:
        sources += [text for _, language, text in blocks(page) if language == "python"]
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                sources.append("\n".join(x for x in lines if not x.startswith("%")))
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            module = getattr(node, "module", None) or ""
            if isinstance(node, ast.ImportFrom) and module.startswith("livn_ipp"):
                yield from ((module, alias.name) for alias in node.names)


@pytest.mark.parametrize(("module", "public"), sorted(set(shown_imports())))
def test_what_is_shown_to_be_imported_is_described(module, public):
    assert described(getattr(importlib.import_module(module), public))


def test_what_docstrings_refer_to_is_there():
    role = re.compile(r":(?:class|func|meth|mod|attr|data):`~?(livn_ipp\.[\w.]+)`")
    targets = {
        target
        for path in (ROOT / "livn_ipp").rglob("*.py")
        for target in role.findall(path.read_text(encoding="utf-8"))
    }
    for target in targets:
        assert resolves(target), target


def resolves(target):
    parts = target.split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(thing, part):
                return part in getattr(thing, "__annotations__", {})
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_pages_are_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="needs the extra docs")
    process = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, tmp_path],
        capture_output=True,
        timeout=280,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    quickstart = (tmp_path / "notebooks" / "01_quickstart.html").read_text()
    assert "../_images/" in quickstart, "outputs are shown as they were kept"
