"""The deployment's files agree with the product, and give no container more than it needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from device_runtime.settings import DeviceSettings
from launch.vllm_server import VllmOptions
from loadtest.faults.driver import PROXIES
from loadtest.proxy.toxics import ProxySpec
from tests.support.installed import closure, declared, normal

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
METRIC = re.compile(r"\bscalrec_[a-z_]+?(?=_bucket|_sum\b|_count\b|[^a-z_]|$)")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc"} & service.keys()
    assert str(service["user"]).split(":")[0] not in ("0", "root")
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    assert not re.search(r":latest$|^[^:]+$", service["image"])


def test_ports_are_published_on_loopback_alone() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}

    assert published.keys() == {"proxy-api", "dashboard", "prometheus", "grafana"}
    assert all(p.startswith("127.0.0.1:") for ports in published.values() for p in ports)
    assert all("profiles" in SERVICES[name] for name in ("prometheus", "grafana"))


def test_long_lived_services_have_health_checks() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (service["restart"] != "no"), name


def test_each_network_joins_the_two_ends_of_one_hop() -> None:
    """Only a hop's proxy stands on both its sides; nobody but a load test sees their controls."""
    internal = {name for name, network in COMPOSE["networks"].items() if "internal" in network}
    assert internal == COMPOSE["networks"].keys() - {"outside"}
    assert all(COMPOSE["networks"][name]["internal"] is True for name in internal)
    members = {
        network: {name for name, s in SERVICES.items() if network in s.get("networks", ())}
        for network in COMPOSE["networks"]
    }
    proxies = {"proxy-api", "proxy-redis", "proxy-embedder"}
    observers = {"prometheus"}
    assert members["edge"] == {"fleet", "loadtest", "dashboard", "proxy-api"}
    assert members["api"] == {"proxy-api", "cloud"}
    assert members["core"] - observers == {"cloud", "proxy-redis", "proxy-embedder"}
    assert members["store"] == {"redis", "proxy-redis"}
    assert members["embedding"] - observers == {"vllm", "vllm-gpu", "prepare", "proxy-embedder"}
    assert members["control"] == proxies | {"loadtest"}
    assert not members["outside"] & {"redis", "vllm", "vllm-gpu", "cloud", "fleet", "loadtest"}


def test_control_apis_listen_on_their_own_network_alone() -> None:
    for hop in ("api", "redis", "embedder"):
        service = SERVICES[f"proxy-{hop}"]
        options = dict(zip(*[iter(service["command"].split()[3:])] * 2, strict=True))
        host = options["--host"]
        assert options["--token-file"] == "/run/secrets/proxy/token"
        assert service["volumes"] == ["secret-proxy:/run/secrets/proxy:ro"]
        named_in = {
            network
            for network, joined in service["networks"].items()
            if host in (joined or {}).get("aliases", ())
        }
        assert named_in == {"control"}, hop
        assert not any(port.endswith(":8474") for port in service.get("ports", ()))


def test_no_file_of_the_checkout_is_mounted_but_given_bundles() -> None:
    """What images hold has modes of its own; a mount has the checkout's, and SELinux's label."""
    bound = [
        (name, mount)
        for name, service in SERVICES.items()
        for mount in service.get("volumes", ())
        if not re.match(r"[a-z-]+:", mount)
    ]
    assert [name for name, _ in bound] == ["prepare"]
    assert bound[0][1].endswith(":ro${SCALREC_SELINUX:+,z}")


def test_images_copy_files_with_modes_of_their_own_and_name_their_user_by_number() -> None:
    """A checkout may be its owner's alone (umask 077); Kubernetes asks for a number."""
    text = (DEPLOY / "Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    for stage in (s for s in stages if re.search(r" AS (runtime|prepare|vllm|playground)\n", s)):
        assert re.findall(r"^USER (.+)$", stage, re.MULTILINE)[-1] == "10001", stage[:60]
    used_by_others = re.findall(r"^COPY (.*deploy/.*)$", text, re.MULTILINE)
    assert len(used_by_others) >= 8
    assert all(copied.startswith("--chmod=0755 ") for copied in used_by_others)


def test_no_secret_stands_in_the_compose_file() -> None:
    """Passwords come from volumes: no variable, with or without a default, carries one."""
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            assert not re.search("KEY|TOKEN|PASSWORD|SECRET|REDIS_URL", variable), (name, variable)


def test_secrets_are_rotated_by_an_option_alone() -> None:
    """`docker compose run --rm secrets --rotate`: what is given there takes a command's place."""
    assert SERVICES["secrets"]["entrypoint"][-1].endswith("/make_secrets.py")
    assert "command" not in SERVICES["secrets"]


def test_the_fleet_takes_policy_budget_and_ranking_from_the_environment() -> None:
    """Each variable is a device setting, and stands at its default unless somebody sets it."""
    given = {
        name: text
        for name, text in SERVICES["fleet"]["environment"].items()
        if name.startswith("SCALREC_DEVICE__")
    }
    values = {}
    for name, text in given.items():
        default = re.fullmatch(rf"\$\{{{name}:-(.*)\}}", text)
        assert default, text
        values[name.removeprefix("SCALREC_DEVICE__").lower()] = default[1]
    assert values.keys() == {
        "policy", "k", "ttl_s", "budget", "budget_scope", "ranking", "initial_share",
        "adaptation_rate",
    }  # fmt: skip
    values = {name: text for name, text in values.items() if text}  # an empty one is unset
    assert DeviceSettings.model_validate(values) == DeviceSettings()
    budgeted = DeviceSettings.model_validate(values | {"policy": "expected-gain", "budget": "0.1"})
    assert (budgeted.policy, budgeted.budget) == ("expected-gain", 0.1)
    DeviceSettings.model_validate(values | {"ranking": "collaborative", "initial_share": "0.5"})


def test_vllm_is_started_as_the_product_starts_it() -> None:
    script = (DEPLOY / "bin" / "vllm.sh").read_text()
    options = VllmOptions(model_dir=Path("/model"), served_name="minilm", number_format="bfloat16")
    command = options.command(Path("python"), 8000)
    for part in (p for p in command if p.startswith("--") or p in ("pooling", "bfloat16", "512")):
        assert f"{part}" in script, part
    ours = options.environment({})
    for variable in ours:
        assert variable in script, variable


def test_the_proxies_are_those_that_scenarios_poison() -> None:
    """Each in the configuration of its hop, leading to what its callers do not see."""
    specs = {
        path.stem: [ProxySpec.model_validate(p) for p in json.loads(path.read_text())]
        for path in (DEPLOY / "proxy").glob("*.json")
    }
    assert {f"proxy-{hop}" for hop in specs} == {n for n in SERVICES if n.startswith("proxy-")}
    wanted = sorted(name for names in PROXIES.values() for name in names)
    assert sorted(spec.name for hop in specs.values() for spec in hop) == wanted
    for hop, [spec] in specs.items():
        networks: dict[str, Any] = SERVICES[f"proxy-{hop}"]["networks"]
        host = spec.upstream.split(":")[0]
        behind = {n for s in _called(host) for n in s["networks"]} & networks.keys()
        assert len(behind) == 1, hop
        listens = spec.listen.split(":")[0]
        before = {n for n, o in networks.items() if listens in (o or {}).get("aliases", ())}
        assert listens == "0.0.0.0" if hop == "api" else before == {"core"}


def _called(host: str) -> list[dict[str, Any]]:
    """Services that are found by a name."""
    return [
        service
        for name, service in SERVICES.items()
        if name == host
        or (
            isinstance(networks := service.get("networks"), dict)
            and any(host in (o or {}).get("aliases", ()) for o in networks.values())
        )
    ]


def test_dashboards_and_alerts_ask_for_documented_metrics() -> None:
    documented = set(METRIC.findall((ROOT / "docs" / "metrics.md").read_text()))
    dashboard = json.loads((DEPLOY / "grafana/dashboards/cloud.json").read_text())
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = {metric for expression in asked for metric in METRIC.findall(expression)}

    assert len(named) >= 8
    assert named <= documented, named - documented
    for file in (*(DEPLOY / "prometheus").glob("*.yml"), *(DEPLOY / "grafana").rglob("*.yml")):
        assert yaml.safe_load(file.read_text()), file


def test_the_runtime_image_gets_pinned_packages_only() -> None:
    """Every name, and everything it needs in turn, has its version in product.txt."""
    pins = set(_names((ROOT / "requirements" / "product.txt").read_text()))
    needed = closure(_names((ROOT / "requirements" / "runtime.txt").read_text()))
    assert needed - pins == set()
    assert "torch" not in needed


def test_the_prepare_image_leaves_out_only_what_the_product_does_not_need() -> None:
    """It is installed without resolving: a package missing from it would show at run time."""
    listed = re.search(r"grep -vE '\^\(([^)]*)\)=='", (DEPLOY / "Dockerfile").read_text())
    assert listed
    left_out = {normal(name) for name in listed[1].split("|")}
    assert left_out <= set(_names((ROOT / "requirements" / "product.txt").read_text()))
    needed = closure(declared("train"))
    assert needed & left_out == {"torch"}  # that comes as a layer


def test_both_environments_have_one_torch() -> None:
    """prepare and vLLM share the layer that holds it."""
    pins = {
        re.search(r"^torch==(.+)$", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)[1]  # type: ignore[index]
        for lock in ("product.txt", "vllm.txt")
    }
    assert len(pins) == 1


def test_builds_pull_no_frontend_image() -> None:
    assert "# syntax=" not in (DEPLOY / "Dockerfile").read_text()


def _names(lock: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in lock.splitlines())
    return [normal(re.split(r"[=\[<>]", line)[0]) for line in lines if line]


def test_no_script_of_a_container_hides_a_package() -> None:
    """Python looks beside a script first: a loadtest.py there stands for the package loadtest."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages >= {"loadtest", "shared"}
    assert not packages & {path.stem for path in (ROOT / "deploy" / "bin").glob("*.py")}
