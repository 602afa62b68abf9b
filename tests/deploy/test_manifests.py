"""docker-compose.yml and the manifests for Kubernetes: valid, without secrets, and no wider open than needed."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from etlog_events.settings import Settings, variable_of

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"

#: The oldest version of Kubernetes that the manifests are for, and the newest whose schema is known.
VERSIONS = ("1.27", "1.37")

Object = dict[str, Any]

COMPOSE: Object = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
USERS: Object = yaml.safe_load((ROOT / "deploy" / "compose-users.yml").read_text())
KUSTOMIZATION: Object = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
OBJECTS: list[Object] = [
    found for file in KUSTOMIZATION["resources"] for found in yaml.safe_load_all((KUBERNETES / file).read_text())
]


def name_of(found: Object) -> str:
    """As in `deployment/api`."""
    return f"{found['kind'].lower()}/{found['metadata']['name']}"


def of(kind: str) -> dict[str, Object]:
    """The objects of one kind, by name."""
    return {found["metadata"]["name"]: found for found in OBJECTS if found["kind"] == kind}


def pods() -> Iterator[tuple[Object, Object]]:
    """The pod of each deployment, and the one container in it."""
    for deployment in of("Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield pod, container


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("found", OBJECTS, ids=name_of)
def test_each_manifest_is_what_the_schema_of_kubernetes_wants(found: Object, version: str) -> None:
    """Strictly: a field that it does not know is an error."""
    kubernetes_validate.validate(found, version, strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    """None lies about unused."""
    files = {file.name for file in KUBERNETES.glob("*.yaml")}
    assert set(KUSTOMIZATION["resources"]) == files - {"kustomization.yaml"}


def test_no_pod_may_do_more_than_it_needs() -> None:
    """Not root, nothing to write to but /tmp, no capabilities, no way up, bounded, without a token of the cluster."""
    for pod, container in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}


def test_no_manifest_holds_a_secret() -> None:
    """What is secret is referred to."""
    assert of("Secret") == {}
    secret = {variable_of(setting.name) for setting in fields(Settings) if not setting.repr}
    assert secret == {"ETLOG_REDIS_URL", "ETLOG_API_TOKEN"}
    for _, container in pods():
        given = {variable["name"]: variable for variable in container["env"]}
        assert "ETLOG_REDIS_URL" in given
        for name in secret & given.keys():
            assert given[name]["valueFrom"]["secretKeyRef"].keys() == {"name", "key"}


def test_what_belongs_together_finds_each_other() -> None:
    """Services, budgets, policies and the autoscaler select pods that there are, at ports that those have."""
    labels = {
        name: deployment["spec"]["template"]["metadata"]["labels"] for name, deployment in of("Deployment").items()
    }
    ports = {container["name"]: {port["name"] for port in container["ports"]} for _, container in pods()}
    assert labels.keys() == ports.keys() == {"api", "consumer"}
    for name, selected in labels.items():
        service, budget, policy = (of(kind)[name] for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"))
        assert of("Deployment")[name]["spec"]["selector"]["matchLabels"] == selected
        assert service["spec"]["selector"] == selected
        assert budget["spec"]["selector"]["matchLabels"] == selected
        assert policy["spec"]["podSelector"]["matchLabels"] == selected
        assert {port["targetPort"] for port in service["spec"]["ports"]} == ports[name]
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == ports[name]
    scaled = of("HorizontalPodAutoscaler")["api"]["spec"]
    assert scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}
    assert "replicas" not in of("Deployment")["api"]["spec"]


def test_the_probes_ask_at_paths_and_ports_that_there_are() -> None:
    """A store that is away restarts nothing."""
    for _, container in pods():
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                asked = container[probe]["httpGet"]
                assert asked["port"] in {port["name"] for port in container["ports"]}
                assert asked["path"] in {"/healthz", "/readyz"}
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_every_variable_is_a_setting() -> None:
    """A misspelled one would be ignored silently."""
    known = {variable_of(setting.name) for setting in fields(Settings)}
    given = {name for service in COMPOSE["services"].values() for name in service.get("environment", {})}
    given |= {variable["name"] for _, container in pods() for variable in container["env"]}
    given |= {line.partition("=")[0] for map in KUSTOMIZATION["configMapGenerator"] for line in map["literals"]}
    assert {name for name in given if name.startswith("ETLOG_")} - known == set()


def test_no_container_of_compose_may_do_more_than_it_needs() -> None:
    """Nor is anything reached from another machine without a change of the file."""
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "latest" not in service["image"], name


def test_with_users_each_part_is_one_of_its_own() -> None:
    """Every service that reaches the store, by a password that must be given and stands in no file."""
    users = {"consumer": "CONSUMER", "api": "API", "sample": "PRODUCER"}
    reaching = {
        name for name, service in COMPOSE["services"].items() if "ETLOG_REDIS_URL" in service.get("environment", {})
    }
    assert reaching == set(users)
    for service, part in users.items():
        url = USERS["services"][service]["environment"]["ETLOG_REDIS_URL"]
        assert url == f"redis://etlog-{part.lower()}:${{ETLOG_{part}_PASSWORD}}@redis:6379/0"
    for variable, value in USERS["services"]["redis"]["environment"].items():
        part = variable.removeprefix("PASSWORD_OF_")
        assert value.startswith(f"${{ETLOG_{part}_PASSWORD:?")
        assert f"/tmp/passwords/etlog-{part.lower()}\n" in USERS["services"]["redis"]["entrypoint"][-1]
