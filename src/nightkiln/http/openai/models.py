"""/v1/models: the models that this server answers for, as its configuration and the key say."""

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from nightkiln.http.access import Reader, Serving
from nightkiln.http.answers import json_answer
from nightkiln.http.errors import Refuse
from nightkiln.http.openai.described import MODEL, MODELS
from nightkiln.wire.openai.objects import Model, ModelList
from nightkiln.wire.openai.refusals import no_such_model

router: Final = APIRouter(tags=["OpenAI: models"])
_OWNER: Final = "nightkiln"
_CREATED: Final = 0  # when somebody trained it is not known here


@router.get("/models", responses=MODELS)
async def list_models(caller: Reader, parts: Serving) -> Response:
    """List the models that batches of this key may name."""
    names = filter(caller.key.may_ask, parts.models.names())
    return json_answer(ModelList(data=tuple(map(_model, names))))


@router.get("/models/{model:path}", responses=MODEL)
async def get_model(model: str, caller: Reader, parts: Serving) -> Response:
    """Describe a model."""
    if model not in parts.models.names() or not caller.key.may_ask(model):
        raise Refuse(no_such_model(model))
    return json_answer(_model(model))


def _model(name: str) -> Model:
    return Model(id=name, created=_CREATED, owned_by=_OWNER)
