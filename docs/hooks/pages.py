"""Pages of the site that are kept elsewhere, or made: notebooks, benchmarks, reference."""

from __future__ import annotations

from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter
from reference import pages as reference_pages

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What a person reads in the checkout as well.
ELSEWHERE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The two parts of the menu that list what is there."""
    assert config.nav is not None
    for part in config.nav:
        match part:
            case {"Notebooks": str()}:
                part["Notebooks"] = [f"notebooks/{path.stem}.md" for path in NOTEBOOKS]
            case {"API reference": str()}:
                part["API reference"] = [{page.title: page.path} for page in reference_pages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and pictures that do not lie in `docs/`."""
    for page in reference_pages():
        files.append(File.generated(config, page.path, content=page.text))
    for path in NOTEBOOKS:
        for name, content in rendered(path).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    pictures = sorted((ROOT / "benchmarks").glob("*.png"))
    for path in [*map(ROOT.joinpath, ELSEWHERE), *pictures]:
        name = str(path.relative_to(ROOT))
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def rendered(path: Path) -> dict[str, str | bytes]:
    """A notebook as it is committed: its page, and its pictures."""
    notebook = nbformat.read(path, as_version=4)
    exporter = MarkdownExporter()
    body, resources = exporter.from_notebook_node(
        notebook, {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
    )
    return {f"{path.stem}.md": body, **resources["outputs"]}
