"""What is asked for: a cluster class and its keywords, or the address of a scheduler, from whatever a person wrote."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from overspill import backend
from overspill.errors import ClusterError, UsageError

ClassName: TypeAlias = Literal["LocalCluster", "LocalCUDACluster"]
Config: TypeAlias = str | os.PathLike[str] | Mapping[str, Mapping[str, Any] | None] | None

_CLASS_NAMES: tuple[ClassName, ...] = ("LocalCluster", "LocalCUDACluster")
_ADDRESS = re.compile(r"\w+://.+|[\w.-]+:\d+")


@dataclass(frozen=True, slots=True)
class Specification:
    """A cluster to start on this machine.

    Attributes
    ----------
    class_name
        The class that starts it.
    keywords
        That class's own keywords, not yet checked.
    """

    class_name: ClassName
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """A scheduler that runs already, as ``tcp://host:port``."""

    url: str


def specify(config: Config, gpu: bool | None, keywords: Mapping[str, Any]) -> Specification | Address:
    """What `config` asks for; explicit `keywords` override its own.

    Raises
    ------
    UsageError
        If `config` names a file that does not exist.
    ClusterError
        If the file or mapping does not name one known class, disagrees with `gpu`, or `keywords` come with an address.
    """
    if isinstance(config, str) and _ADDRESS.fullmatch(config):
        if keywords:
            raise ClusterError(
                f"keyword {next(iter(keywords))!r} cannot change the running cluster at {config}: set it where that "
                f"cluster is started"
            )
        return Address(config)
    if config is None:
        on_gpu = bool(backend.gpus()) if gpu is None else gpu
        return Specification("LocalCUDACluster" if on_gpu else "LocalCluster", keywords)
    if isinstance(config, Mapping):
        found = _from_mapping(config, "cluster mapping")
    else:
        found = _from_mapping(_load(Path(config)), f"cluster file {os.fspath(config)}")
    if gpu is not None and gpu is not (found.class_name == "LocalCUDACluster"):
        raise ClusterError(
            f"gpu={gpu} disagrees with the configuration, which names {found.class_name}: drop one of them"
        )
    return Specification(found.class_name, {**found.keywords, **keywords})


def _load(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cluster file {path} cannot be read ({error.strerror}): name a YAML file or an address like tcp://host:8786"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ClusterError(f"cluster file {path} is not valid YAML: {reason}") from None


def _from_mapping(content: object, where: str) -> Specification:
    if not isinstance(content, Mapping) or len(content) != 1:
        raise ClusterError(f"{where} must have one top-level key, LocalCluster or LocalCUDACluster")
    name, keywords = next(iter(content.items()))
    for class_name in _CLASS_NAMES:
        if name == class_name:
            break
    else:
        raise ClusterError(
            f"{where} names {name!r}, which is neither LocalCluster nor LocalCUDACluster: start a cluster of another "
            f"kind yourself and pass its scheduler's address"
        )
    if not isinstance(keywords, Mapping | None):
        raise ClusterError(
            f"{where} gives {class_name} a {type(keywords).__name__}: write its keywords as 'name: value'"
        )
    keywords = dict(keywords or {})
    if strange := [keyword for keyword in keywords if not isinstance(keyword, str)]:
        raise ClusterError(f"{where} gives {class_name} the keyword {strange[0]!r}: write keywords as 'name: value'")
    return Specification(class_name, keywords)
