"""docker-compose.yml and the manifests for Kubernetes: valid, without secrets, and no wider open than needed."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from etlog_events import config
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
        mounts = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert mounts == {"/tmp"}
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
    assert labels.keys() == ports.keys() == {"api", "consumer", "watch"}
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
    """A misspelled one would be ignored silently. One is for the configuration file, which names it."""
    known = {variable_of(setting.name) for setting in fields(Settings)}
    given = {name for service in COMPOSE["services"].values() for name in service.get("environment", {})}
    given |= {variable["name"] for _, container in pods() for variable in container["env"]}
    given |= {line.partition("=")[0] for map in KUSTOMIZATION["configMapGenerator"] for line in map["literals"]}
    assert {name for name in given if name.startswith("ETLOG_")} - known == {"ETLOG_WEBHOOK_SECRET"}


def test_the_configuration_that_is_shipped_is_right_and_tells_no_one() -> None:
    """It starts out of the box; and what its comments show is right, too."""
    shipped = (ROOT / "deploy" / "etlog.toml").read_text()
    shown = re.sub(r"^# ?(?=\[\[|\w+ = |$)", "", shipped, flags=re.MULTILINE)
    [generated] = [text for secret in KUSTOMIZATION["secretGenerator"] for text in secret["literals"]]
    name, _, text = generated.partition("=")

    assert name == "etlog.toml"
    assert config.parse(shipped, Settings()) == config.parse(text, Settings()) == config.Config()
    said = config.parse(shown, Settings())
    assert (len(said.logs), len(said.expect), len(said.notify)) == (1, 1, 1)
    assert said.notify[0].secret == "env:ETLOG_WEBHOOK_SECRET"


def test_what_is_shown_and_what_is_told_rest_on_the_same_configuration() -> None:
    """The API and the watchers read one file, at a path where it is."""
    services, pods_by_name = COMPOSE["services"], {container["name"]: (pod, container) for pod, container in pods()}
    for part in ("api", "watch"):
        path = services[part]["environment"]["ETLOG_CONFIG"]
        [mount] = services[part]["volumes"]
        assert (mount["source"], mount["target"], mount["read_only"]) == ("./deploy/etlog.toml", path, True)
        pod, container = pods_by_name[part]
        [path] = [variable["value"] for variable in container["env"] if variable["name"] == "ETLOG_CONFIG"]
        [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
        assert path == f"{mount['mountPath']}/etlog.toml"
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "config"]
        assert volume["secret"]["secretName"] == KUSTOMIZATION["secretGenerator"][0]["name"]


def test_only_watchers_reach_what_is_not_the_store() -> None:
    """Their messages leave by HTTPS; the policy of all parts opens the store and the cluster's names."""
    leaving = {
        name: [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
        for name, policy in of("NetworkPolicy").items()
        if policy["spec"].get("egress")
    }
    assert leaving == {"store-and-names": [6379, 26379, 53, 53], "watch": [443]}


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
    users = {"consumer": "CONSUMER", "api": "API", "watch": "WATCH", "sample": "PRODUCER"}
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
