"""One row after the other with the OpenAI client; answers are written as they come."""

import rowfiles
from openai import OpenAI


def main() -> None:
    """Ask every row."""
    task = rowfiles.task()
    client = OpenAI(base_url=task.url, api_key=rowfiles.KEY, max_retries=rowfiles.RETRIES)
    with task.output.open("w") as out:
        for row in task.rows:
            try:
                reply = client.chat.completions.create(
                    model=rowfiles.MODEL, messages=rowfiles.messages(row)
                )
                answer = reply.choices[0].message.content
            except Exception:  # the loop goes on to the next row, as careful users write it
                answer = None
            out.write(rowfiles.line(row, answer))


if __name__ == "__main__":
    main()
