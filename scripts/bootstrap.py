"""Set up scalrec's Python environments. Needs Python 3.11 and nothing else.

    python3 scripts/bootstrap.py product   everything but vLLM, and this checkout's .venv
    python3 scripts/bootstrap.py vllm      the vLLM server's environment (Linux)
    python3 scripts/bootstrap.py ray       the product, and Ray for fleets of many machines
    python3 scripts/bootstrap.py mlflow    the product, and MLflow's client to track runs in
    python3 scripts/bootstrap.py docs      the product, and what builds the documentation's site
    python3 scripts/bootstrap.py all       product and vLLM, side by side
    python3 scripts/bootstrap.py prune     remove cached environments of older locks

Environments are kept in a user cache ($SCALREC_CACHE, else $XDG_CACHE_HOME/scalrec, else
~/.cache/scalrec) under the hash of their lock, so that a second checkout starts in seconds.
Interrupted at any moment, the next run continues. Then use .venv/bin/scalrec, .venv/bin/python.

SCALREC_TORCH_INDEX: address of PyTorch's CPU package index, for a machine where pip would
otherwise fetch the CUDA build of torch (several GB). vLLM's CPU build needs the CPU torch.

Exit codes: 0 done; 1 failed; 3 the product is ready but vLLM could not be installed (the reason
is printed and kept beside the environment); 130 interrupted.
"""

import sys

if not (3, 11) <= sys.version_info[:2] < (3, 12):
    sys.exit(
        "a checkout of scalrec needs Python 3.11, which its locks and vLLM's build are made for "
        "(`pip install .` takes 3.12 and 3.13, too); this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}.\n"
        "Install it (Debian 12: apt install python3 python3-venv; Ubuntu: apt install python3.11 "
        "python3.11-venv;\nor pyenv install 3.11) and use that one, for example: "
        "make PYTHON=python3.11"
    )

import argparse
import signal
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The packages of the checkout that need nothing installed; scripts/ itself is there already.
sys.path.insert(1, str(ROOT))

from provision.checkout import Checkout  # noqa: E402
from provision.commands import Commands, InstallError  # noqa: E402
from provision.environment import CachedEnvironment, prune  # noqa: E402
from provision.progress import StepDisplay  # noqa: E402

from launch import environments  # noqa: E402
from shared.paths import default_cache_dir  # noqa: E402

EXIT_FAILED, EXIT_NO_VLLM, EXIT_INTERRUPTED = 1, 3, 130


def main(arguments: list[str] | None = None) -> int:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=["product", "vllm", *environments.LAID_OVER, "all", "prune"]
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    commands = Commands()
    with StepDisplay(quiet=options.quiet) as progress:
        try:
            if options.what == "prune":
                prune(progress)
                return 0
            return bootstrap(options.what, commands, progress)
        except KeyboardInterrupt:
            commands.cancel()
            print("\ninterrupted; run the same command again to continue", file=sys.stderr)
            return EXIT_INTERRUPTED


def bootstrap(what: str, commands: Commands, progress: StepDisplay) -> int:
    """Install what is asked for; returns the exit code."""
    started = time.monotonic()
    over = what in environments.LAID_OVER
    kinds = ["product", "vllm"] if what == "all" else ["product", what] if over else [what]
    wanted = [CachedEnvironment(kind, commands, progress) for kind in kinds]
    if any(not environments.is_complete(e.path) for e in wanted):
        progress.say(f"Installing into {default_cache_dir()} (first time: some minutes)")
    errors: dict[str, str] = {}

    def install(environment: CachedEnvironment) -> None:
        try:
            environment.ensure()
            if environment.kind == "product":
                Checkout(ROOT, commands, progress).ensure(environment.path)
        except (InstallError, OSError) as error:
            errors[environment.kind] = str(error)

    threads = [threading.Thread(target=install, args=(e,), daemon=True) for e in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # in slices, so that Ctrl-C is seen at once
    for kind, message in errors.items():
        print(f"\nThe {kind} environment could not be installed: {message}", file=sys.stderr)
    if errors.keys() - {"vllm"}:
        return EXIT_FAILED
    if "vllm" in errors:
        return EXIT_NO_VLLM
    if over:
        Checkout(ROOT, commands, progress).add(what, environments.environment_dir(what))
    progress.say(f"{' and '.join(kinds)} ready ({time.monotonic() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
