"""Where a model's files are: on this disk, or at a hub from which they are fetched once.

A name is a GGUF file, a directory in OpenVINO's own form, or `hf:org/repo[:file]`.
Nothing is fetched for a name that does not begin with `hf:`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nightkiln.backends.engines.extra import needed
from nightkiln.backends.engines.gguf_file import is_gguf
from nightkiln.core.errors import UnreachableError, UsageError

HUB: Final = "hf:"
REACH_S: Final = 10.0  # how long a hub may take to show that it is there
GGUF: Final = ".gguf"
IR_FILE: Final = "openvino_model.xml"
_IR_FILES: Final = ("*.xml", "*.bin", "*.json", "*.jinja", "*.txt")


def find_model(
    name: str,
    *,
    hub_url: str | None = None,
    cache: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Path:
    """The GGUF file or directory of a model. Blocks while it is fetched.

    `hub_url` and `cache` stand in for the hub's own address and its usual cache;
    `tell` hears of a model that may not be the newest. Raises UsageError,
    UnreachableError, MissingExtra.
    """
    path = _fetched(name[len(HUB) :], hub_url, cache, tell) if name.startswith(HUB) else Path(name)
    path = path.expanduser()
    if path.is_dir():
        if not (path / IR_FILE).is_file():
            raise UsageError(
                f"{path} holds no {IR_FILE}", hint="name a GGUF file or an OpenVINO model"
            )
        return path
    if not path.is_file():
        raise UsageError(f"there is no model at {path}", hint=f"from a hub: {HUB}org/repo[:file]")
    if not is_gguf(path):
        raise UsageError(f"{path} is not a GGUF file")
    return path


def _fetched(
    name: str, hub_url: str | None, cache: Path | None, tell: Callable[[str], None]
) -> Path:
    repo, _, file = name.partition(":")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UsageError(f"{HUB}{name} must be {HUB}org/repo or {HUB}org/repo:file")
    hub, errors = needed("huggingface_hub"), needed("huggingface_hub.errors")
    try:
        return _from(hub, repo, file, hub_url, cache)
    except (
        errors.HFValidationError,
        errors.RepositoryNotFoundError,
        errors.RemoteEntryNotFoundError,
    ) as problem:
        raise UsageError(f"the hub shows us no {HUB}{name}") from problem
    except (errors.HTTPError, OSError) as problem:
        if (kept := None if file else _kept(hub, repo, cache)) is not None:
            tell(
                f"the hub is out of reach ({type(problem).__name__}): {HUB}{name} is what was"
                " fetched before"
            )
            return kept
        raise UnreachableError(
            f"{HUB}{name} cannot be fetched: {type(problem).__name__}",
            hint="name a GGUF file on this disk with --model",
        ) from problem


def _from(hub: Any, repo: str, file: str, url: str | None, cache: Path | None) -> Path:
    if file and isinstance(at := hub.try_to_load_from_cache(repo, file, cache_dir=cache), str):
        return Path(at)
    # The library asks a hub that is out of reach for half a minute; one look is enough.
    address = url or needed("huggingface_hub.constants").ENDPOINT
    needed("huggingface_hub.utils").get_session().head(address, timeout=REACH_S)
    if not file:
        names = hub.HfApi(endpoint=url).list_repo_files(repo)
        if IR_FILE in names:
            return Path(
                hub.snapshot_download(
                    repo, endpoint=url, cache_dir=cache, allow_patterns=list(_IR_FILES)
                )
            )
        file = _only_gguf(repo, names)
    return Path(hub.hf_hub_download(repo, file, endpoint=url, cache_dir=cache))


def _kept(hub: Any, repo: str, cache: Path | None) -> Path | None:
    """What was fetched of a repository before; None where nothing whole was."""
    try:
        folder = Path(hub.snapshot_download(repo, cache_dir=cache, local_files_only=True))
    except OSError:
        return None
    if (folder / IR_FILE).is_file():
        return folder
    names = [str(path.relative_to(folder)) for path in folder.rglob(f"*{GGUF}")]
    return folder / _only_gguf(repo, names) if names else None


def _only_gguf(repo: str, names: list[str]) -> str:
    models = sorted(name for name in names if name.lower().endswith(GGUF))
    if len(models) == 1:
        return models[0]
    if not models:
        raise UsageError(f"{HUB}{repo} holds neither a GGUF file nor an OpenVINO model")
    raise UsageError(
        f"{HUB}{repo} holds {len(models)} GGUF files", hint=f"name one: {HUB}{repo}:{models[0]}"
    )
