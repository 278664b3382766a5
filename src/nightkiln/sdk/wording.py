"""The errors of the layers below speak of options; here they are arguments."""

import re
from typing import Final

from nightkiln.core.errors import NightkilnError

_OPTION: Final = re.compile(r"--([a-z][a-z-]*)\b")
_ARGUMENTS: Final = {
    "new": "force_new",
    "header": "headers",
    "system": "system_prompt",
    "schema": "output_schema",
    "param": "sampling_params",
    "max-tokens": 'sampling_params["max_tokens"]',
    "temperature": 'sampling_params["temperature"]',
    "seed": 'sampling_params["seed"]',
    "timeout": "timeout_s",
    "wait": "wait_s",
}  # where another word is used than the option's own
_COMMANDS: Final = (
    (re.compile(r"nightkiln jobs results (\S+) --partial"), r'job("\1").results(partial=True)'),
    (re.compile(r"nightkiln jobs retry (\S+) --run"), r'job("\1").retry()'),
)  # whole commands that are a call here
_ONLY_TYPED: Final = (", --template FILE.jinja", ", --template")  # the functions have none


def in_python(error: NightkilnError) -> None:
    """Let an error's words name arguments. Saying it twice changes nothing more."""
    error.message = _said(error.message)
    error.hint = _said(error.hint)
    error.args = (f"{error.message} ({error.hint})" if error.hint else error.message,)


def _said(text: str) -> str:
    for command, call in _COMMANDS:
        text = command.sub(call, text)
    for option in _ONLY_TYPED:
        text = text.replace(option, "")
    return _OPTION.sub(_argument, text)


def _argument(found: re.Match[str]) -> str:
    option = found.group(1)
    return _ARGUMENTS.get(option, option.replace("-", "_"))
