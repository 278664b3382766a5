"""The shipped file through the real engine, token ids in: what the figures are measured with.

Token ids are fed rather than text, because the tokenizer an engine builds from a
GGUF file may split text differently from the one the model was trained with.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import openvino_genai as genai
from openvino import Tensor
from tokenizers import Tokenizer

from nightkiln import pilot
from tools.train_pilot import tokenizer

CACHE_GB = 1
AT_ONCE = 64


def tokenizer_of(file: Path) -> Tokenizer:
    """The tokenizer that a GGUF file of ours describes. Raises ValueError for another kind."""
    fields = gguf.GGUFReader(file).fields
    pre = fields["tokenizer.ggml.pre"].contents()
    if pre != tokenizer.PRE:
        raise ValueError(f"the tokenizer is of kind {pre!r}, not {tokenizer.PRE!r}")
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    return tokenizer.rebuilt(list(tokens), pairs)


def labels_schema() -> str:
    """The JSON schema of the three labels, as the demonstration uses it."""
    kinds = {
        "sentiment": pilot.SENTIMENTS,
        "topic": pilot.TOPICS,
        "urgency": pilot.URGENCIES,
    }
    properties = {name: {"type": "string", "enum": list(words)} for name, words in kinds.items()}
    return json.dumps(
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


class Engine:
    """A loaded model that answers lists of conversations greedily."""

    def __init__(self, file: Path, properties: Mapping[str, str] | None = None) -> None:
        """Loads the file; `properties` are the device's, and their defaults are ours."""
        settings = genai.SchedulerConfig()
        settings.cache_size = CACHE_GB
        settings.max_num_seqs = AT_ONCE
        settings.enable_prefix_caching = False
        self.reader = tokenizer_of(file)
        self._end = self.reader.token_to_id(tokenizer.END)
        self._pipe = genai.ContinuousBatchingPipeline(
            str(file), settings, "CPU", dict(properties or {})
        )

    def ids(
        self, prompts: Sequence[Sequence[int]], most: int = 64, schema: str = ""
    ) -> list[list[int]]:
        """The ids written after each of `prompts`, the end sign left out."""
        config = genai.GenerationConfig()
        config.max_new_tokens = most
        config.eos_token_id = self._end
        config.stop_token_ids = {self._end}
        config.do_sample = False
        if schema:
            config.structured_output_config = genai.StructuredOutputConfig(json_schema=schema)
        handles = []
        for at, prompt in enumerate(prompts):
            tensor = Tensor([list(prompt)])
            handles.append(self._pipe.add_request(at, tensor, config))
        while self._pipe.has_non_finished_requests():
            self._pipe.step()
        said = [list(handle.read_all()[0].generated_ids) for handle in handles]
        return [[one for one in ids if one != self._end] for ids in said]

    def answers(
        self, conversations: Sequence[tuple[str, str]], most: int = 64, schema: str = ""
    ) -> list[str]:
        """The text answered to each (system, prompt)."""
        prompts = [
            self.reader.encode(tokenizer.chat(prompt, system)).ids
            for system, prompt in conversations
        ]
        return [self.reader.decode(ids) for ids in self.ids(prompts, most, schema)]
