"""Variables of the environment that begin with SCALREC_: each is a setting, or stands here."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping

from scalrec.setting_names import PREFIX, SettingNames, variable
from shared.errors import ConfigError

# Variables with that prefix which are no settings, and who reads them.
NOT_SETTINGS = {
    "SCALREC_CONFIG": "scalrec: the settings file",
    "SCALREC_STARTED_AT": "make demo: when the set-up began",
    "SCALREC_LOADTEST_CLOUD": "scalrec loadtest and robustness: --url",
    "SCALREC_LOADTEST_FAULT_PROXY": "scalrec loadtest and robustness: --fault-proxy",
    "SCALREC_TORCH_INDEX": "containers: where PyTorch for CPUs comes from",
    "SCALREC_RUNS": "containers: the folder of the runs",
    "SCALREC_BUNDLES": "containers: a folder with bundles of your own",
    "SCALREC_API_PORT": "containers: port on the host",
    "SCALREC_DASHBOARD_PORT": "containers: port on the host",
    "SCALREC_PROMETHEUS_PORT": "containers: port on the host",
    "SCALREC_GRAFANA_PORT": "containers: port on the host",
    "SCALREC_SELINUX": "containers: z where SELinux guards what is mounted",
    "SCALREC_CLOUD_CPUS": "containers: a limit",
    "SCALREC_FLEET_CPUS": "containers: a limit",
    "SCALREC_DATA": "tests: the folder with real logs",
    "SCALREC_CHROMIUM": "tests: the browser",
    "SCALREC_ENGINE_TOOLS": "tests: what makes a container engine",
}
# What Kubernetes and Docker's links tell every container about a service called scalrec-something.
_OF_SERVICES = re.compile(
    r"SCALREC(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def check_variables(
    names: SettingNames, environ: Mapping[str, str], gone: Collection[str] = ()
) -> None:
    """Refuse what is no setting, and lists and sections that are no JSON.

    An empty variable is an unset one.

    Args:
        gone: names of former settings, which are told of elsewhere.

    Raises:
        ConfigError: with all of them, each with the setting that was meant or an example.
    """
    problems = []
    for given, value in sorted(environ.items()):
        written = given.upper()
        if not written.startswith(PREFIX) or not value or _other(written, value):
            continue
        name = written.removeprefix(PREFIX).lower().replace("__", ".")
        if name in gone:
            continue
        if name not in names:
            problems.append(f"{given} is no setting{_meant(names, name)}")
        elif (names.is_list(name) or names.is_section(name)) and name != "profile":
            try:
                json.loads(value)
            except (ValueError, RecursionError):
                problems.append(f"{given} ({name}) is not JSON: {names.written(name)}")
    if problems:
        raise ConfigError("; ".join(problems))


def _other(written: str, value: str) -> bool:
    of_service = _OF_SERVICES.fullmatch(written) is not None
    address = written.endswith("_PORT") and _ADDRESS.match(value) is not None
    return written in NOT_SETTINGS or of_service or address


def _meant(names: SettingNames, name: str) -> str:
    nearest = names.nearest(name)
    if nearest is None:
        return "; unset it (settings are SCALREC_SECTION__NAME, with two underscores)"
    return f"; did you mean {variable(nearest)}?"
