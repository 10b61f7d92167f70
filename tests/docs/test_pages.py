"""What the pages show exists: commands, options, files, names; the page on systems gives a network that works."""

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_HERE = {"src/ecumene/networks/spectral_cnn.py", "src/ecumene/systems/spectral_cnn.py"}  # the example of the page


def blocks(path, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def shell_lines(path):
    """Indented lines that call ecumene, continuations joined, comments dropped."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    calls = [shlex.split(line, comments=True)[1:] for line in lines if re.match(r"    ecumene ", line)]
    return [words[1:] if words[0] == "--log-json" else words for words in calls]


@pytest.fixture(scope="module")
def verbs():
    import typer

    from ecumene.cli.main import app

    return {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in typer.main.get_command(app).commands.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page, verbs):
    for verb, *words in shell_lines(page):
        assert verb in verbs
        for word in words:
            if word.startswith("-") and not re.fullmatch(r"-[\d.]+", word):
                assert word in verbs[verb], f"{page.name}: ecumene {verb} has no {word}"


def test_pages_show_commands():
    assert {words[0] for page in PAGES for words in shell_lines(page)} >= {"info", "train", "map", "assess", "demo"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (page.parent / link).exists(), link
    for name in re.findall(r"`([a-z_]+/[\w/.-]+\.(?:py|md))`", text):
        if name not in NOT_HERE and "test_networks_spectral_cnn" not in name:
            assert any((base / name).exists() for base in (ROOT, ROOT / "src" / "ecumene")), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imports_of_python_blocks_resolve(page):
    for block in blocks(page):
        try:
            tree = ast.parse(block)
        except SyntaxError:  # an entry of a list, shown without its list
            tree = ast.parse(f"(\n{block})")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ecumene"):
                module = importlib.import_module(node.module)
                assert [entry.name for entry in node.names if not hasattr(module, entry.name)] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name == "reference"], ids=lambda page: page.name
)
def test_reference_names_exist(page):
    names = re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert names
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute)


def test_architecture_lists_the_rooms_in_their_order():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    listed = [layer.strip("()").removeprefix("ecumene.") for layer in contract["layers"]][::-1]
    rooms = [room for room in listed if (ROOT / "src" / "ecumene" / room / "__init__.py").exists()]
    text = " ".join((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split())
    assert f"`{', '.join(rooms)}`" in text
    for room in rooms:
        assert f"**{room}.**" in text


def test_network_and_system_of_the_page_work():
    torch = pytest.importorskip("torch")
    from ecumene.networks.contract import Network

    network_code, _, system_code, _, counter = blocks(ROOT / "docs" / "add-a-system.md")
    names: dict = {"__name__": "page"}
    for code in (network_code, system_code, counter):
        exec(compile(code, "add-a-system.md", "exec"), names)
    system = names["SYSTEM"]
    network = names["SpectralCNN"](5, 3, **system.network_arguments).eval()
    assert isinstance(network, Network)
    assert all(weight.ndim <= 4 for weight in network.parameters())
    assert sum(weight.numel() for weight in network.parameters()) == names["spectral_cnn_count"](5, 3)
    with torch.inference_mode():
        x = torch.randn(2, 5, 6, 7)
        output, features = network.forward_features(x)
        assert output.shape == (2, 3, 6, 7)
        assert features.shape == (2, network.feature_channels, 6, 7)
        alone = network(x[:, :, 2:3, 3:4])
    assert torch.allclose(alone[..., 0, 0], output[:, :, 2, 3], atol=1e-5)


def test_pictures_are_small_and_named():
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in pictures:
        assert picture.stat().st_size < 150_000
        assert f"images/{picture.name}" in text


def test_the_page_on_studies_lists_every_exit_code_and_key():
    from ecumene.core.errors import exit_codes
    from ecumene.workflows.study_file import Study

    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    for code, meaning in exit_codes().items():
        assert f"| {code} | {meaning} |" in text
    for key in Study.model_fields:
        assert f"`{key}" in text, key
