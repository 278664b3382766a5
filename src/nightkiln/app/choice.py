"""Which backend answers: what was named, else the pilot; never anything that was not asked for.

Paid keys and other servers may be seen and are then mentioned. They are used
only when named: money is never spent by surprise.
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.backends.engines.model_files import GGUF, HUB, IR_FILE
from nightkiln.core.errors import UsageError
from nightkiln.core.job import Task
from nightkiln.service.orders import Order

ENDPOINT_SLOTS: Final = 1024  # at most; how many are used is found out
PILOT: Final = "pilot"
ENGINE: Final = "embedded openvino engine"
_LOOK_S: Final = 0.05  # for a server on this machine to show that it is there
_KEYS: Final = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "OPENROUTER_API_KEY",
    "TOGETHER_API_KEY",
)
_SERVERS: Final = {
    8000: "vLLM",
    8080: "llama-server",
    11434: "Ollama",
    1234: "LM Studio",
    30000: "SGLang",
}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A backend to make, and why this one."""

    kind: str  # a name in the registry
    model: str  # what the job's spec calls it
    why: str
    notices: tuple[str, ...] = ()


def choose(order: Order, environ: Mapping[str, str], *, why: str = "") -> Choice:
    """The backend an order means. Raises UsageError when it names half of one.

    `why` is what the settings had to do with it; see `targets`.
    """
    if order.endpoint is not None:
        if order.model is None:
            raise UsageError(
                "--endpoint needs --model", hint="name a model that the endpoint serves"
            )
        return Choice(kind="openai", model=order.model, why=why or "named by --endpoint")
    if order.key is not None or order.headers:
        raise UsageError(
            "--key and --header are for an endpoint, and none is named", hint="add --endpoint URL"
        )
    embeds = order.task is Task.EMBEDDING
    if embeds and order.model in (None, PILOT):
        raise UsageError(
            "the pilot makes no embeddings",
            hint="name an OpenVINO folder of an embedding model with --model,"
            " or an endpoint with --endpoint and --model",
        )
    if order.model is None:
        return Choice(
            kind="openvino",
            model=PILOT,
            why=f"nothing else was named ({ENGINE})",
            notices=_notices(environ),
        )
    if not is_model_file(order.model):
        if Path(order.model).is_dir():
            raise UsageError(f"the folder {order.model} holds no {IR_FILE}, so no model to run")
        raise UsageError(
            f"--model {order.model} needs --endpoint URL",
            hint="or name a GGUF file, an OpenVINO folder, or hf:org/repo[:file]",
        )
    notices = _notices(environ) if order.model == PILOT else ()
    named = "the pilot, named" if order.model == PILOT else f"{_what(order.model)}, named"
    why = why or f"{named} by --model"
    kind = "embedding" if embeds else "openvino"
    return Choice(kind=kind, model=order.model, why=f"{why} ({ENGINE})", notices=notices)


def _what(model: str) -> str:
    if model.startswith(HUB):
        return "a model of a hub"
    return "a model folder" if Path(model).expanduser().is_dir() else "a model file"


def is_model_file(model: str) -> bool:
    """True for what runs here: the pilot, a path, a model's folder, or a name at a hub."""
    return (
        model == PILOT
        or model.startswith((HUB, "./", "../", "/", "~"))
        or model.lower().endswith(GGUF)
        or (Path(model) / IR_FILE).is_file()
    )


def _notices(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What the pilot is, and what else could be named."""
    pilot = (
        "the pilot is a tiny model of our own for trying the pipeline: it sorts tickets and"
        " reviews and knows nothing else"
    )
    seen = [f"the key {name}" for name in _KEYS if environ.get(name)]
    seen += [f"{name} at port {port}" for port, name in _SERVERS.items() if _listens(port)]
    if not seen:
        return (pilot,)
    return (pilot, f"seen and not used: {', '.join(seen)}; name one with --endpoint and --model")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_LOOK_S):
            return True
    except OSError:
        return False
