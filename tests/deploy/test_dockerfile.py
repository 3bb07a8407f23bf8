"""The Dockerfile keeps the rules that hadolint does not know."""

from __future__ import annotations

import re

import pytest

from tests.deploy.manifests import OVERLAYS, ROOT, pods

pytestmark = pytest.mark.deploy

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()


def stages() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in LINES:
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            found[match[2]] = [match[1]]
            current = found[match[2]]
        elif found:
            current.append(line)
    return found


def ancestry(name: str) -> list[str]:
    lines = stages()[name]
    return (ancestry(lines[0]) if lines[0] in stages() else []) + lines[1:]


@pytest.mark.parametrize("target", ["gateway", "triton", "all-in-one"])
def test_an_image_is_non_root_checked_and_stops_by_sigterm(target: str):
    lines = ancestry(target)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1].partition(":")[0] == "10001"
    for needed in ("HEALTHCHECK", "STOPSIGNAL SIGTERM", "ENTRYPOINT", "EXPOSE"):
        assert any(line.startswith(needed) for line in lines), needed


def test_bases_are_arguments_with_a_fixed_version():
    bases = [line for line in LINES if line.startswith("ARG ") and "IMAGE=" in line]
    assert len(bases) == 2
    for base in bases:
        assert re.search(r":[\w.-]*\d", base), base
        assert ":latest" not in base
    for name, lines in stages().items():
        assert lines[0].startswith("${") or lines[0] in stages(), name


def test_no_weights_are_copied_in():
    assert not [line for line in LINES if line.startswith("COPY") and " modules" in line]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert allowed[0] == "**"
    assert "!modules" not in allowed


def test_the_images_of_the_manifests_are_targets():
    for overlay in OVERLAYS:
        for _, pod in pods(overlay):
            for container in [*pod["containers"], *pod.get("initContainers", ())]:
                name = re.sub(r"[:@].*", "", container["image"]).rpartition("/")[2]
                assert name in stages()
