"""Files, uploads in parts, lists and models with OpenAI's client as it is."""

import hashlib

import openai
from tests.client.openai.asking import (
    Client,
    asked,
    everything,
    fails,
    got,
    lines_of,
    text_of,
    uploaded,
)


async def test_lists_are_paged_without_a_gap(client: Client) -> None:
    files = [await uploaded(client, b"{}", f"{n}.jsonl") for n in range(5)]
    ids = [file.id for file in files]
    found = [file.id for file in await everything(client.files.list(limit=2, purpose="batch"))]
    assert found[:5] == ids[::-1]
    oldest = await everything(client.files.list(limit=3, order="asc", purpose="batch"))
    assert [file.id for file in oldest][-5:] == ids
    batches = [await asked(client, lines_of(1), metadata={"n": str(n)}) for n in range(5)]
    listed = [batch.id for batch in await everything(client.batches.list(limit=2))]
    assert listed[:5] == [batch.id for batch in batches][::-1]
    page = await got(client.batches.list(limit=2))
    assert page.has_more
    assert len(page.data) == 2
    for file in ids:
        gone = await got(client.files.delete(file))
        assert (gone.id, gone.deleted) == (file, True)
    left = {file.id for file in await everything(client.files.list())}
    assert not left & set(ids)


async def test_a_file_comes_in_parts_in_any_order(client: Client) -> None:
    lines = lines_of(20)
    pieces = [lines[:1000], lines[1000:1700], lines[1700:]]
    upload = await got(
        client.uploads.create(
            bytes=len(lines), filename="in.jsonl", mime_type="application/jsonl", purpose="batch"
        )
    )
    assert (upload.status, upload.bytes, upload.object) == ("pending", len(lines), "upload")
    parts = {
        at: await got(client.uploads.parts.create(upload.id, data=pieces[at])) for at in (2, 0, 1)
    }
    assert {part.upload_id for part in parts.values()} == {upload.id}
    ordered = [parts[at].id for at in range(3)]
    whole = hashlib.md5(lines).hexdigest()
    error = await fails(
        openai.BadRequestError,
        lambda: client.uploads.complete(upload.id, part_ids=ordered[::-1], md5=whole),
    )
    assert error.param == "md5"
    done = await got(client.uploads.complete(upload.id, part_ids=ordered, md5=whole))
    assert (done.status, done.file.bytes, done.file.purpose) == ("completed", len(lines), "batch")
    assert await text_of(client, done.file.id) == lines.decode()
    error = await fails(
        openai.BadRequestError, lambda: client.uploads.parts.create(upload.id, data=b"more")
    )
    assert "completed" in str(error)


async def test_an_upload_that_is_given_up_takes_no_more_parts(client: Client) -> None:
    upload = await got(
        client.uploads.create(
            bytes=10, filename="in.jsonl", mime_type="application/jsonl", purpose="batch"
        )
    )
    await got(client.uploads.parts.create(upload.id, data=b"12345"))
    ended = await got(client.uploads.cancel(upload.id))
    assert ended.status == "cancelled"
    await fails(
        openai.BadRequestError, lambda: client.uploads.parts.create(upload.id, data=b"12345")
    )


async def test_models_are_those_of_the_configuration(client: Client) -> None:
    names = [model.id for model in await everything(client.models.list())]
    assert names == ["m", "vectors"]
    model = await got(client.models.retrieve("m"))
    assert (model.id, model.object) == ("m", "model")


async def test_a_file_may_say_when_it_expires(client: Client) -> None:
    policy = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = await got(
        client.files.create(file=("x.jsonl", lines_of(1)), purpose="batch", extra_body=policy)
    )
    assert file.expires_at == file.created_at + 3600
