"""Public names: present, documented, and light to import."""

import ast
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import promptweight

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "diffusers", "transformers", "PIL", "numpy", "rich", "typer", "gradio", "safetensors")


def run(code: str, *arguments: str) -> str:
    """Return the output of `code` in a new interpreter with this package."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(promptweight.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def loaded_after(code: str) -> set[str]:
    listing = f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    return set(run(code + listing).split("\n")[-2].split())


WITHOUT_EXTRAS = """
import sys
sys.modules["gradio"] = sys.modules["mcp"] = None
from promptweight.cli import main
sys.argv = ["promptweight", *sys.argv[1:]]
try:
    main()
except SystemExit as done:
    print("exit", done.code)
"""


def test_images_are_generated_without_extras(tmp_path):
    written = run(WITHOUT_EXTRAS, "generate", "um (gato:1.4) vermelho", "-o", str(tmp_path), "--steps", "1")
    assert written.endswith("exit 0\n")
    assert len([*tmp_path.glob("*.png")]) == 1


@pytest.mark.parametrize("command", ["ui", "mcp"])
def test_command_without_its_library_names_the_extra(command):
    code = f"import sys; sys.stderr = sys.stdout\n{WITHOUT_EXTRAS}"
    written = run(code, command)
    assert f'pip install "promptweight[{command}]"' in written
    assert written.endswith("exit 2\n")


def test_import_of_the_package_is_light():
    assert loaded_after("import promptweight") == set()


def test_parse_imports_no_heavy_library():
    assert loaded_after("import promptweight; promptweight.parse('um (gato:1.4)')") == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["generate", "--help"], ["parse", "um (gato:1.4) vermelho"]]
)
def test_help_and_parse_commands_import_no_torch(arguments):
    code = f"""
import sys
from promptweight.cli import main
sys.argv = ["promptweight", *{arguments!r}]
try:
    main()
except SystemExit as done:
    assert done.code == 0, done.code
"""
    assert loaded_after(code) & {"torch", "diffusers", "transformers", "PIL", "numpy", "gradio"} == set()


@pytest.mark.parametrize("name", promptweight.__all__)
def test_public_name_exists_and_is_listed(name):
    assert getattr(promptweight, name) is not None
    assert name in dir(promptweight)


def test_public_names_are_sorted_and_have_the_main_ones():
    assert sorted(promptweight.__all__) == promptweight.__all__
    assert set(promptweight.__all__) >= {
        "parse",
        "encode",
        "attach",
        "load",
        "generate",
        "Result",
        "AttentionMaps",
    }


PACKAGES = sorted(
    found.name for found in pkgutil.walk_packages(promptweight.__path__, "promptweight.") if found.ispkg
)


def described(modules: list[ModuleType], name: str) -> bool:
    """Return True if a constant has a docstring of its own or is named in that of its module."""
    for module in modules:
        body = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body
        for statement, following in zip(body, [*body[1:], None], strict=True):
            if not isinstance(statement, ast.Assign | ast.AnnAssign):
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if name not in {target.id for target in targets if isinstance(target, ast.Name)}:
                continue
            string = following.value if isinstance(following, ast.Expr) else None
            if isinstance(string, ast.Constant) and isinstance(string.value, str):
                return True
        if f"`{name}`" in (module.__doc__ or ""):
            return True
    return False


@pytest.mark.parametrize("package", ["promptweight", *PACKAGES])
def test_public_names_of_a_package_exist_and_are_documented(package):
    module = import_module(package)
    assert module.__doc__
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    values = {name: getattr(module, name) for name in set(names) - {"__version__"}}
    modules = [each for name, each in sys.modules.items() if f"{name}.".startswith(f"{package}.")]
    for name, value in values.items():
        if inspect.ismodule(value) or inspect.isclass(value) or inspect.isfunction(value):
            text = (value.__doc__ or "").strip()
            # the docstring that a dataclass generates lists its fields
            assert text, f"{package}.{name} has no docstring"
            assert not text.startswith(f"{name}("), f"{package}.{name} has no docstring"
        else:
            plain = isinstance(value, str | int | float | tuple | list | dict | frozenset)
            assert not plain or described(modules, name), f"{package}.{name} is not described"


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="wieght"):
        promptweight.wieght  # noqa: B018


def test_functions_are_not_hidden_by_modules_of_the_same_name():
    code = """
import promptweight.generation.image_generation, promptweight.prompt.timeline, promptweight.prompt.conversion
print(callable(promptweight.generate), callable(promptweight.parse), callable(promptweight.convert))
"""
    assert run(code).split() == ["True", "True", "True"]


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert promptweight.__version__ == project["version"]


def test_package_runs_as_a_program():
    assert promptweight.__version__ in run(
        "import runpy, sys; sys.argv = ['promptweight', '--version']; "
        "runpy.run_module('promptweight', run_name='__main__')"
    )
