"""The image is built of what is there, by rules that a linter knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.files import CLUSTER, ROOT, pins

DOCKERFILE = CLUSTER / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def complaints(text: str) -> list[str]:
    """Return the rules that a Dockerfile breaks."""
    command = [str(HADOLINT), "--no-color", "--format", "gnu", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return re.findall(r" (DL\d+|SC\d+) ", done.stdout)


def instructions(name: str) -> list[str]:
    """Return the arguments of every instruction of a name, each in one line."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
    return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)


def test_the_linter_finds_nothing() -> None:
    assert complaints(DOCKERFILE.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("python:3.11-slim-bookworm AS cpu", "python AS cpu", "DL3006"),
        ("USER 1000", "USER 0", "DL3002"),
        ("--no-cache-dir --no-deps .", "--no-deps .", "DL3042"),
        ("--no-install-recommends ", "", "DL3015"),
        ('SHELL ["/bin/bash", "-o", "pipefail", "-c"]\n', "", "DL4006"),
        ("WORKDIR /home/ray", "WORKDIR ray", "DL3000"),
    ],
)
def test_the_linter_would_find_a_mistake(old: str, new: str, rule: str) -> None:
    text = DOCKERFILE.read_text()
    assert old in text
    assert complaints(text.replace(old, new)) == [rule]


def test_both_variants_are_there_and_run_as_another_user_than_root() -> None:
    assert instructions("ARG")[0] == "VARIANT=cpu"
    bases = instructions("FROM")
    assert bases == [
        *(f"python:3.11-slim-bookworm AS {name}" for name in ("cpu", "cuda")),
        "${VARIANT}",
    ]
    assert instructions("USER") == ["1000"]
    assert "RAY_AUTH_MODE=token" in instructions("ENV")[-1]


def test_the_cpu_variant_alone_has_the_index_of_builds_for_cpus() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    with_index = [stage.split()[2] for stage in stages if "PIP_EXTRA_INDEX_URL=" in stage]
    assert with_index == ["cpu"]
    assert "/whl/cpu" in instructions("ARG")[1]


def test_what_is_copied_is_there_and_let_in() -> None:
    let_in = set(re.findall(r"^!(.+)$", (CLUSTER / "Dockerfile.dockerignore").read_text(), re.M))
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert copied == let_in
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_dependencies_are_those_of_the_package() -> None:
    (program,) = re.findall(r'python -c "(.*?)" ', instructions("RUN")[1])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {re.split(r"[<>=\[]", line)[0] for line in done.stdout.splitlines()}
    assert {"ray", "torch", "s3fs", "transformers"} <= names


def test_what_the_clouds_need_is_pinned_too() -> None:
    text = DOCKERFILE.read_text()
    (default,) = re.findall(r'^ARG PACKAGES="(.*)"$', text, re.MULTILINE)
    (google,) = re.findall(r'^# "(gcsfs .*?)"', text, re.MULTILINE)
    assert {*default.split(), *google.split()} <= set(pins())
