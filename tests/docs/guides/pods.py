"""Pods: what Kubernetes would run by a manifest, as processes here: commands, probes, SIGTERM and SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...support import processes
from ...support.deadlines import eventually
from ...support.places import python_path

#: A worker or a beat starts, on two busy cores, seconds.
READY_WITHIN = 60.0


@dataclass
class Pod:
    """One pod of a deployment, with its only container.

    Args:
        name: Unique; it is the pod's host, too.
        spec: Of the pod, from the manifest.
        image: The folder that is the container's working directory.
        folder: Where the pod's own ``/tmp`` and its log are.
        env: More of the container's environment.
    """

    name: str
    spec: Mapping[str, Any]
    image: Path
    folder: Path
    env: Mapping[str, str]

    def __post_init__(self) -> None:
        (self._container,) = self.spec["containers"]
        self._tmp = self.folder / self.name
        self._tmp.mkdir()
        given = {each["name"]: self._here(each["value"]) for each in self._container["env"]}
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        python = os.pathsep.join([str(self.image), python_path()])
        self._env = {
            **os.environ,
            "PATH": programs,
            "PYTHONPATH": python,
            "PYTHONUNBUFFERED": "1",
            **given,
            **self.env,
        }
        self._log_path = self.folder / f"{self.name}.log"
        command = list(map(self._here, self._container["command"]))
        if "worker" in command:
            # In a cluster each pod is a host of its own name.
            command += ["-n", f"celery@{self.name}"]
        with self._log_path.open("wb") as output:
            self._process = processes.start(
                ["/usr/bin/env", *command], output=output, env=self._env, cwd=self.image
            )

    @property
    def pid(self) -> int:
        """Of the container's process 1."""
        return self._process.pid

    def log(self) -> str:
        """Return what it has written."""
        return self._log_path.read_text(errors="replace")

    def passes(self, probe: str) -> bool:
        """Ask a probe."""
        command = self._container[probe]["exec"]["command"]
        return subprocess.run(command, env=self._env, capture_output=True, timeout=30).returncode == 0

    def is_ready(self) -> None:
        """Return when the pod counts as ready."""
        eventually(lambda: self.passes("readinessProbe"), READY_WITHIN, f"{self.name} should be ready")

    def is_told_to_stop(self) -> None:
        """Send SIGTERM to process 1 alone."""
        self._process.send_signal(signal.SIGTERM)

    def has_stopped(self) -> None:
        """Return when it has ended by itself, within the grace period of its manifest.

        Raises:
            subprocess.TimeoutExpired: Kubernetes would have killed it.
        """
        self._process.wait(self.spec["terminationGracePeriodSeconds"])

    def end(self) -> None:
        """End what is left of it."""
        processes.end_group(self._process, grace=5)

    def _here(self, text: str) -> str:
        return text.replace("/tmp", str(self._tmp))


class Cluster:
    """What runs the pods of some deployments, and replaces them by those of a new version.

    Args:
        manifests: The deployments.
        image: The folder that is each container's working directory.
        folder: For logs.

    Attributes:
        deployments: The manifests, by their names.
        env: More of each container's environment, for pods that are started from now on.
        pods: Of the newest version, by deployment.
        all_pods: Of all versions.
    """

    def __init__(self, manifests: list[Mapping[str, Any]], image: Path, folder: Path) -> None:
        self.deployments = {each["metadata"]["name"]: each["spec"] for each in manifests}
        self.image, self.folder = image, folder
        self._version = 0
        self.env: dict[str, str] = {}
        self.pods: dict[str, list[Pod]] = {name: [] for name in self.deployments}
        self.all_pods: list[Pod] = []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for pod in self.all_pods:
            pod.end()
        if kind is not None:
            for pod in self.all_pods:
                print(f"---- log of pod {pod.name} ----\n{pod.log()}", file=sys.stderr)

    def roll_out(self) -> None:
        """Start the pods of each deployment; for each that becomes ready one old pod is told to stop."""
        self._version += 1
        stopping = []
        for name, spec in self.deployments.items():
            old, self.pods[name] = self.pods[name], []
            for number in range(spec["replicas"]):
                pod = self.start(name, number)
                pod.is_ready()
                if old:
                    stopping.append(old.pop(0))
                    stopping[-1].is_told_to_stop()
        for pod in stopping:
            pod.has_stopped()

    def start(self, deployment: str, number: int) -> Pod:
        """Start one pod of a deployment, beside those that it has."""
        name = f"{deployment}-v{self._version}-{number}"
        spec = self.deployments[deployment]["template"]["spec"]
        pod = Pod(name, spec, self.image, self.folder, self.env)
        self.pods[deployment].append(pod)
        self.all_pods.append(pod)
        return pod
