"""Every overlay is valid, safe, and agrees with the code it starts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest

from legonn_server.config.settings import Settings, leaves
from legonn_server.pools.routes_folder import RoutesFolder
from legonn_server.routing import routes_file
from tests.deploy.manifests import (
    CUSTOM,
    OVERLAYS,
    ROOT,
    Object,
    faults,
    of_kind,
    pods,
    rendered,
)

pytestmark = pytest.mark.deploy

MODULES = ROOT / "modules"

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
def test_objects_keep_the_schemas_of_kubernetes(overlay: str):
    checked = 0
    for one in rendered(overlay):
        if one["kind"] in CUSTOM:
            continue
        kubernetes_validate.validate(one, "1.37", strict=True)
        checked += 1
    assert checked >= 8


def test_a_misspelt_field_is_found():
    deployment = copy.deepcopy(of_kind("cpu", "Deployment")[0])
    deployment["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


@each_overlay
def test_workloads_have_no_faults(overlay: str):
    assert pods(overlay)
    assert [fault for name, pod in pods(overlay) for fault in faults(name, pod)] == []


BREAK: dict[str, Callable[[Object], object]] = {
    "may run as root": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "no fixed version": lambda pod: pod["containers"][0].update(image="legonn/gateway:latest"),
    "writable root": lambda pod: pod["containers"][0]["securityContext"].pop(
        "readOnlyRootFilesystem"
    ),
    "no limits": lambda pod: pod["containers"][0]["resources"].pop("limits"),
    "no livenessProbe": lambda pod: pod["containers"][0].pop("livenessProbe"),
    "in the clear": lambda pod: pod["containers"][0]["env"].append(
        {"name": "API_KEY", "value": "x"}
    ),
    "without bound": lambda pod: pod["volumes"].append({"name": "x", "emptyDir": {}}),
    "keeps capabilities": lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"),
    "token": lambda pod: pod.pop("automountServiceAccountToken"),
}


@pytest.mark.parametrize("fault", BREAK)
def test_each_rule_finds_its_fault(fault: str):
    name, pod = copy.deepcopy(pods("cpu")[0])
    BREAK[fault](pod)
    found = list(faults(name, pod))
    assert len(found) == 1
    assert fault in found[0]


@each_overlay
def test_no_secret_is_written_down(overlay: str):
    assert not of_kind(overlay, "Secret")


@pytest.mark.parametrize(
    "overlay",
    [
        "cpu",
        "cpu-keda",
        "cpu-tls",
        pytest.param(
            "gpu",
            marks=pytest.mark.xfail(
                "triton" not in Settings.model_fields,
                reason="this release has no Triton backend",
                strict=True,
            ),
        ),
    ],
)
def test_settings_in_manifests_exist(overlay: str):
    known = {f"LEGONN_{section}__{field}".upper() for section, field, _ in leaves(Settings())}
    named = {
        variable["name"]
        for _, pod in pods(overlay)
        for container in pod["containers"]
        for variable in container.get("env", ())
    }
    for one in of_kind(overlay, "ConfigMap"):
        named |= {key for key in one["data"] if key.startswith("LEGONN_")}
    assert named <= known, "a pod with an unknown LEGONN_ variable does not start"
    assert "LEGONN_SERVER__LISTEN" in named


@each_overlay
def test_a_pod_is_given_the_time_that_its_drain_takes(overlay: str):
    settings = next(
        one["data"] for one in of_kind(overlay, "ConfigMap")
        if "LEGONN_SERVER__GRACE_SECONDS" in one["data"]
    )  # fmt: skip
    pod = dict(pods(overlay))["legonn-gateway"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = float(settings["LEGONN_SERVER__GRACE_SECONDS"])
    assert grace > Settings().endpoint.max_segment_ms / 1000
    assert pod["terminationGracePeriodSeconds"] >= sleep + grace + 5


@each_overlay
def test_ports_of_probes_services_and_monitors_are_the_pods(overlay: str):
    for one in of_kind(overlay, "Deployment", "StatefulSet"):
        template = one["spec"]["template"]
        labels = template["metadata"]["labels"]
        ports = {
            port["name"]: port["containerPort"]
            for container in template["spec"]["containers"]
            for port in container["ports"]
        }
        for container in template["spec"]["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                how = container[probe].get("grpc") or container[probe]["httpGet"]
                assert how["port"] in {*ports, *ports.values()}
        mine = labels["app.kubernetes.io/component"]
        for other in of_kind(overlay, "Service", "PodMonitor"):
            spec = other["spec"]
            selector = spec["selector"].get("matchLabels", spec["selector"])
            if selector["app.kubernetes.io/component"] != mine:
                continue
            named = [p["targetPort"] for p in spec.get("ports", ())]
            named += [p["port"] for p in spec.get("podMetricsEndpoints", ())]
            assert set(named) <= set(ports), other["metadata"]["name"]
            if other["kind"] == "Service":
                assert spec["clusterIP"] == "None", "gRPC needs every pod's address"


@each_overlay
def test_every_workload_has_its_guards(overlay: str):
    for one in of_kind(overlay, "Deployment", "StatefulSet"):
        component = one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        for kind, where in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
            guards = [
                guard for guard in of_kind(overlay, kind)
                if guard["spec"][where].get("matchLabels", {}).get("app.kubernetes.io/component")
                == component
            ]  # fmt: skip
            assert guards, f"{component} has no {kind}"
    deny = [p for p in of_kind(overlay, "NetworkPolicy") if p["spec"]["podSelector"] == {}]
    assert deny
    assert set(deny[0]["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_scaling_is_by_places_and_by_one_thing_only():
    for overlay, kind, other in (
        ("cpu", "HorizontalPodAutoscaler", "ScaledObject"),
        ("gpu", "HorizontalPodAutoscaler", "ScaledObject"),
        ("cpu-keda", "ScaledObject", "HorizontalPodAutoscaler"),
    ):
        assert len(of_kind(overlay, kind)) == 1, overlay
        assert not of_kind(overlay, other), overlay
        assert "legonn_sessions_open" in str(of_kind(overlay, kind)[0]["spec"])


def test_names_are_one_namespace():
    for overlay in OVERLAYS:
        spaces = {
            one["metadata"].get("namespace") for one in rendered(overlay)
            if one["kind"] != "Namespace"
        }  # fmt: skip
        assert spaces == {"legonn"}


@each_overlay
def test_nobody_calls_without_a_key(overlay: str):
    settings = next(
        one["data"] for one in of_kind(overlay, "ConfigMap")
        if "LEGONN_SERVER__LISTEN" in one["data"]
    )  # fmt: skip
    pod = dict(pods(overlay))["legonn-gateway"]
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    secrets = {one["name"] for one in pod["volumes"] if "secret" in one}
    assert settings["LEGONN_ACCESS__FILE"].startswith(mounts["access"])
    assert "access" in secrets
    assert settings.get("LEGONN_ACCESS__INSECURE", "false") == "false"


def test_the_tls_overlay_is_cpu_with_certificates():
    pod = dict(pods("cpu-tls"))["legonn-gateway"]
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    for variable in pod["containers"][0]["env"]:
        if variable["name"].startswith("LEGONN_TLS__"):
            assert variable["value"].startswith(mounts["tls"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert pod["containers"][0][probe]["httpGet"]["scheme"] == "HTTPS"


def config_map(overlay: str, prefix: str) -> Object:
    (found,) = [
        one for one in of_kind(overlay, "ConfigMap") if one["metadata"]["name"].startswith(prefix)
    ]
    return found


@each_overlay
def test_gateways_follow_the_routes_that_are_mounted(overlay: str, tmp_path: Path):
    """The file as a pod sees it, read by what the server reads it with."""
    routes = config_map(overlay, "legonn-routes")
    assert routes["metadata"]["name"] == "legonn-routes", "a new name would restart every pod"
    settings = config_map(overlay, "legonn-settings")["data"]
    (pod,) = [pod for name, pod in pods(overlay) if name == "legonn-gateway"]
    volumes = {one["name"]: one for one in pod["volumes"]}
    (mount,) = [
        one
        for one in pod["containers"][0]["volumeMounts"]
        if volumes[one["name"]].get("configMap", {}).get("name") == "legonn-routes"
    ]
    assert "subPath" not in mount, "a file that is mounted alone never changes"
    assert settings["LEGONN_SERVER__ROUTES"] == mount["mountPath"]
    assert settings["LEGONN_SERVER__ROUTES_READ_ONLY"] == "true"
    for name, text in routes["data"].items():
        (tmp_path / name).write_text(text)
    table = routes_file.parse(RoutesFolder(tmp_path, is_read_only=True).read() or "")
    missing = [ref for ref in table.refs if not (MODULES / ref.name / ref.version).is_dir()]
    assert not missing
    assert {ref.name for ref in table.refs} == {
        path.parent.parent.name for path in MODULES.glob("*/*/card.toml")
    }


def test_admission_and_autoscaling_agree():
    for overlay in ("cpu", "gpu"):
        (pod,) = [pod for name, pod in pods(overlay) if name == "legonn-gateway"]
        env = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        (scaler,) = of_kind(overlay, "HorizontalPodAutoscaler")
        target = scaler["spec"]["metrics"][0]["pods"]["target"]["averageValue"]
        assert int(target) == 0.75 * int(env["LEGONN_ADMISSION__MAX_STREAMS"])
