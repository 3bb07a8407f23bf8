"""Overlays as kubectl renders them, and the rules that every workload in them keeps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("cpu", "cpu-keda", "cpu-tls", "gpu")
CUSTOM = {"PodMonitor", "ScaledObject"}
"""Kinds of other people's definitions, which Kubernetes' own schemas do not know."""

Object = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """Every object of an overlay."""
    folder = ROOT / "deploy/kubernetes/overlays" / overlay
    kubectl = Path(sys.executable).with_name("kubectl")
    command = [str(kubectl) if kubectl.exists() else "kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    return [one for one in rendered(overlay) if one["kind"] in kinds]


def pods(overlay: str) -> list[tuple[str, Object]]:
    """Name and pod specification of each workload."""
    return [
        (one["metadata"]["name"], one["spec"]["template"]["spec"])
        for one in of_kind(overlay, "Deployment", "StatefulSet", "DaemonSet", "Job")
    ]


def faults(name: str, pod: Object) -> Iterator[str]:
    """What a reviewer would not let through."""
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield f"{name}: may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{name}: no seccomp profile"
    if pod.get("automountServiceAccountToken", True):
        yield f"{name}: mounts a token that it does not need"
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(host):
            yield f"{name}: {host}"
    for volume in pod.get("volumes", ()):
        if "hostPath" in volume:
            yield f"{name}: mounts the host's {volume['hostPath']}"
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"{name}: volume {volume['name']} may grow without bound"
    for container in pod["containers"]:
        yield from _container_faults(name, container)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe not in container:
                yield f"{name}/{container['name']}: no {probe}"
    for container in pod.get("initContainers", ()):
        yield from _container_faults(name, container)


def _container_faults(name: str, container: Object) -> Iterator[str]:
    where = f"{name}/{container['name']}"
    image = container["image"]
    _, _, tag = image.rpartition("/")[2].partition(":")
    if "@sha256:" not in image and tag in ("", "latest"):
        yield f"{where}: image {image} has no fixed version"
    security = container.get("securityContext", {})
    if not security.get("readOnlyRootFilesystem"):
        yield f"{where}: writable root"
    if security.get("allowPrivilegeEscalation", True) or security.get("privileged"):
        yield f"{where}: may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{where}: keeps capabilities"
    for bound in ("requests", "limits"):
        if not {"cpu", "memory"} <= set(container.get("resources", {}).get(bound, {})):
            yield f"{where}: no {bound} of cpu and memory"
    for variable in container.get("env", ()):
        secret = any(word in variable["name"] for word in ("KEY", "TOKEN", "PASSWORD", "SECRET"))
        # A path says where a secret is mounted, and is none.
        if secret and not variable.get("value", "/").startswith("/"):
            yield f"{where}: {variable['name']} holds a secret in the clear"
