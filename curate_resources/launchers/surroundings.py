"""What Kubernetes says of the pods of a job: what happened to them, and what keeps them from starting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_Json = Mapping[str, Any]

_STUCK = (
    "CrashLoopBackOff CreateContainerConfigError CreateContainerError ErrImageNeverPull ErrImagePull ImageInspectError "
    "ImagePullBackOff InvalidImageName RegistryUnavailable RunContainerError"
).split()
"""What a container waits for that will not come by waiting."""
_NOT_SET_UP = "FailedAttachVolume FailedCreatePodSandBox FailedMount".split()
"""Events of a pod that has its machine and gets no further."""
_MACHINE_ORDERED = "TriggeredScaleUp Nominated".split()
"""Events of the cluster autoscaler and of Karpenter: a machine for the pod is on its way."""
_NO_MACHINE = "NotTriggerScaleUp FailedScaleUp".split()


@dataclass(frozen=True)
class Surroundings:
    """What is around a job that runs.

    Attributes:
        events: what happened, by the id of the event, with a new one for each new message.
        normal: the ids of those that are in the ordinary course.
        stuck: by who, why somebody does not start and will not if nobody does anything.
        growing: by who, what for somebody waits that has been ordered, as a machine.
    """

    events: Mapping[str, str] = field(default_factory=dict)
    normal: frozenset[str] = frozenset()
    stuck: Mapping[str, str] = field(default_factory=dict)
    growing: Mapping[str, str] = field(default_factory=dict)


def surroundings(pods: Sequence[_Json], events: Sequence[_Json] | None) -> Surroundings:
    """What the pods of a job and the events of them, their job and their cluster tell.

    A worker that waits beside one that runs and has all that it asks for stops nothing, so it is not called stuck.

    Args:
        events: None where they cannot be read: then nobody knows whether a machine has been ordered.
    """
    told = sorted(events or (), key=_time)
    stuck: dict[str, str] = {}
    growing: dict[str, str] = {}
    running = [_asked_for(pod) for pod in pods if _is_worker(pod) and not waits(pod)]
    for pod in pods:
        if not waits(pod) or (_is_worker(pod) and any(_asked_for(pod) <= has for has in running)):
            continue
        own = [each for each in told if each["involvedObject"].get("name") == pod["metadata"]["name"]]
        machine = next(
            (each for each in reversed(own) if each.get("reason") in (*_MACHINE_ORDERED, *_NO_MACHINE)), None
        )
        why = _refused_by_node(pod) or _not_set_up(own)
        if why is None and (unplaced := _unplaced(pod)) is not None:
            if machine is not None and machine.get("reason") in _MACHINE_ORDERED:
                growing[_who(pod)] = f"{unplaced}; {_text(machine)}"
            elif events is not None:
                why = unplaced if machine is None else f"{unplaced}; {_text(machine)}"
        if why is not None:
            stuck[_who(pod)] = why
    stuck |= _refused(told, bool(running))
    return Surroundings(
        {_id(each): f"{_object(each)}: {_text(each)}" for each in told},
        frozenset(_id(each) for each in told if each.get("type") != "Warning"),
        stuck,
        growing,
    )


def waits(pod: _Json) -> bool:
    """Whether a pod is to run and does not."""
    phase = pod.get("status", {}).get("phase", "Pending")
    if "deletionTimestamp" in pod["metadata"] or phase in ("Succeeded", "Failed"):
        return False
    return phase != "Running" or _refused_by_node(pod) is not None


def _refused(told: Iterable[_Json], works: bool) -> dict[str, str]:
    """Whose pods nobody makes: their owner's newest event about making anything is that it could not."""
    newest: dict[str, _Json] = {}
    for each in told:
        reason = each.get("reason", "")
        if each["involvedObject"].get("kind") != "Pod" and reason.startswith(
            ("Failed", "Invalid", "Created", "Success")
        ):
            newest[_object(each)] = each
    failed = {
        who: each for who, each in newest.items() if each["reason"].startswith(("FailedCreate", "FailedTo", "Invalid"))
    }
    return {who: _text(each) for who, each in failed.items() if not (works and "RayCluster" in who)}


def _refused_by_node(pod: _Json) -> str | None:
    status = pod.get("status", {})
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = each.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _STUCK:
            return f"{waiting['reason']}: {waiting.get('message') or each.get('image', '')}".rstrip(": ")
    return None


def _not_set_up(own: Sequence[_Json]) -> str | None:
    newest = own[-1] if own else None
    return _text(newest) if newest is not None and newest.get("reason") in _NOT_SET_UP else None


def _unplaced(pod: _Json) -> str | None:
    for each in pod.get("status", {}).get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return f"{each.get('reason', 'Unschedulable')}: {each.get('message', '')}".rstrip(": ")
    return None


def _asked_for(pod: _Json) -> frozenset[str]:
    """The kinds of resources that a pod asks for."""
    containers = pod.get("spec", {}).get("containers") or ()
    return frozenset(
        name
        for container in containers
        for name in {
            **container.get("resources", {}).get("limits", {}),
            **container.get("resources", {}).get("requests", {}),
        }
    )


def _labels(pod: _Json) -> Mapping[str, str]:
    return pod["metadata"].get("labels") or {}


def _is_worker(pod: _Json) -> bool:
    return _labels(pod).get("ray.io/node-type") == "worker"


def _who(pod: _Json) -> str:
    """A pod by what it is for: the next one in its place is the same."""
    if _is_worker(pod):
        return f"a worker of group {_labels(pod).get('ray.io/group', '?')}"
    return "the head" if _labels(pod).get("ray.io/node-type") == "head" else "the submitter"


def _object(event: _Json) -> str:
    return f"{event['involvedObject'].get('kind', '?')} {event['involvedObject'].get('name', '?')}"


def _text(event: _Json) -> str:
    return f"{event.get('reason', '?')}: {event.get('message', '')}".rstrip(": ")


def _id(event: _Json) -> str:
    return f"{event['metadata'].get('uid', '')} {_object(event)} {_text(event)}"


def _time(event: _Json) -> str:
    series = event.get("series") or {}
    times = series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")
    return next((each for each in times if each), event["metadata"].get("creationTimestamp") or "")
